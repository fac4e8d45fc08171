"""What a damaged database costs: the rows in the damage, and nothing of what is set aside."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clusterodm_py.core.types import Address, Node, OwnerId, Task, TaskId, TaskRequest, TaskState
from clusterodm_py.store.sqlite import SqliteStore

PAGE = 4096
LEAF = 0x0D
TASKS = 400
ASIDE = "db.damaged-20231114T221320Z"


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path, clock=lambda: 1_700_000_000.0)


async def fill(path: Path, tasks: int = TASKS) -> None:
    async with opened(path) as store:
        await put(store, tasks)


async def put(store: SqliteStore, tasks: int) -> None:
    await store.nodes.add(Node(address=Address("a", 1)))
    await asyncio.gather(*(store.tasks.create(task(number)) for number in range(tasks)))


def task(number: int) -> Task:
    return Task(
        id=TaskId(f"t{number}"),
        owner=OwnerId("o"),
        state=TaskState.SPOOLING,
        request=TaskRequest(name="n" * 200),
        created=float(number),
        accessed=float(number),
    )


async def ids(path: Path) -> list[str]:
    async with opened(path) as store:
        return [each.id for each in await store.tasks.in_states(frozenset(TaskState))]


def leaves(content: bytes | bytearray) -> list[tuple[int, int]]:
    """Where the pages are that hold tasks, and how many each holds (SQLite file format, §1.6)."""
    pages = [(at, content[at : at + PAGE]) for at in range(0, len(content), PAGE)]
    return [
        (at, int.from_bytes(page[3:5], "big")) for at, page in pages if page[0] == LEAF and b"n" * 200 in page
    ]


@pytest.mark.parametrize(
    "pick", [slice(0, 1), slice(-1, None), slice(3, 4), slice(2, 8, 2), slice(0, None, 5)]
)
async def test_only_the_rows_of_a_damaged_page_are_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pick: slice
) -> None:
    path = tmp_path / "db"
    await fill(path)
    content = bytearray(path.read_bytes())
    hit = leaves(content)[pick]
    for at, _ in hit:
        content[at : at + PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    lost = sum(rows for _, rows in hit)
    assert lost > 0
    assert len(await ids(path)) == TASKS - lost
    assert (tmp_path / ASIDE).read_bytes() == content
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert f"{path} was damaged" in warning
    assert f"kept as {tmp_path / ASIDE}" in warning
    assert f"1 nodes, {TASKS - lost} tasks, 0 strays, 0 notes" in warning


@pytest.mark.parametrize("tenths", range(10))
async def test_a_file_cut_anywhere_gives_the_pages_before_the_cut(tmp_path: Path, tenths: int) -> None:
    path = tmp_path / "db"
    await fill(path)
    content = path.read_bytes()
    cut = len(content) * tenths // 10 + 17
    path.write_bytes(content[:cut])
    whole = sum(rows for at, rows in leaves(content) if at + PAGE <= cut)
    assert len(await ids(path)) >= whole
    assert len(await ids(path)) >= whole


async def test_the_journal_is_read_and_set_aside_with_its_database_untouched(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    path, live = tmp_path / "db", tmp_path / "live" / "db"
    await fill(live)
    content = bytearray(live.read_bytes())
    at, lost = leaves(content)[4]
    async with opened(live) as store:
        await asyncio.gather(*(store.tasks.create(task(TASKS + number)) for number in range(20)))
        shutil.copy(live.with_name("db-wal"), tmp_path / "db-wal")
    journal = (tmp_path / "db-wal").read_bytes()
    content[at : at + PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    assert len(await ids(path)) == TASKS - lost + 20
    assert (tmp_path / ASIDE).read_bytes() == content
    assert (tmp_path / f"{ASIDE}-wal").read_bytes() == journal


async def test_a_journal_without_its_database_is_kept_and_harms_no_fresh_one(tmp_path: Path) -> None:
    (tmp_path / "db-wal").write_bytes(b"journal")
    await fill(tmp_path / "db", 1)
    assert await ids(tmp_path / "db") == ["t0"]
    assert (tmp_path / f"{ASIDE}-wal").read_bytes() == b"journal"


async def test_damage_in_the_same_second_overwrites_nothing(tmp_path: Path) -> None:
    for content in (b"first", b"second", b"third"):
        (tmp_path / "db").write_bytes(content)
        assert await ids(tmp_path / "db") == []
    kept = [(tmp_path / f"{ASIDE}{turn}").read_bytes() for turn in ("", "-2", "-3")]
    assert kept == [b"first", b"second", b"third"]


async def test_a_rescue_killed_before_it_was_whole_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await fill(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for leftover in ("db.salvaged.draft", "db.salvaged.draft-journal", "db.salvaged"):
        (tmp_path / leftover).write_bytes(b"half of it")
    assert len(await ids(path)) > TASKS // 4
    assert not list(tmp_path.glob("db.salvaged*"))


@pytest.mark.parametrize("left", [(), ("-wal",)], ids=["all moved", "journal not moved yet"])
async def test_a_rescue_killed_while_files_were_moved_is_finished(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    await fill(tmp_path / "db", 3)
    (tmp_path / "db").rename(tmp_path / "db.salvaged")
    (tmp_path / ASIDE).write_bytes(b"damaged")
    for suffix in left:
        (tmp_path / f"db{suffix}").write_bytes(b"of the damaged one")
    assert await ids(tmp_path / "db") == ["t0", "t1", "t2"]
    assert (tmp_path / ASIDE).read_bytes() == b"damaged"
    kept = [each.read_bytes() for each in tmp_path.glob("*-wal")]
    assert kept == [b"of the damaged one"] * len(left)


async def test_a_creation_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "dying", isolation_level=None)) as connection:
        connection.executescript("PRAGMA cache_size = 1; BEGIN; CREATE TABLE nodes (a);")
        connection.executemany("INSERT INTO nodes VALUES (?)", [("x" * PAGE,)] * 50)
        for suffix in ("", "-journal"):
            shutil.copy(tmp_path / f"dying{suffix}", tmp_path / f"db{suffix}")
    assert (tmp_path / "db-journal").stat().st_size > 0
    await fill(tmp_path / "db", 1)
    assert await ids(tmp_path / "db") == ["t0"]
    assert not list(tmp_path.glob("*damaged*"))


async def test_somebody_elses_database_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE tasks (a); INSERT INTO tasks VALUES ('precious')")
    content = path.read_bytes()
    assert await ids(path) == []
    assert (tmp_path / ASIDE).read_bytes() == content


async def test_text_that_is_no_unicode_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await fill(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET owner = CAST(x'fffe' AS TEXT) WHERE id = 't1'")
    assert await ids(path) == ["t0", "t2"]
    assert len(list(tmp_path.glob(f"{ASIDE}*"))) >= 1
