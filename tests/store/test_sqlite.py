"""The embedded store's own promises: it survives kills, damage, newer versions and a second opener."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import Address, Node, OwnerId, Task, TaskId, TaskRequest, TaskState, Token
from clusterodm_py.store.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from pathlib import Path
from clusterodm_py.core.types import *
from clusterodm_py.store.sqlite import SqliteStore

async def main():
    async with SqliteStore(Path(sys.argv[1]), clock=lambda: 0.0) as store:
        number = 0
        while True:
            task = Task(id=TaskId(f"t{number}"), owner=NOBODY, state=TaskState.SPOOLING, request=TaskRequest(),
                        created=number, accessed=number)
            await store.tasks.create(task)
            print(number, flush=True)
            number += 1

asyncio.run(main())
"""


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path, clock=lambda: 1_700_000_000.0)


def task(number: int) -> Task:
    return Task(
        id=TaskId(f"t{number}"),
        owner=OwnerId("o"),
        state=TaskState.SPOOLING,
        request=TaskRequest(name="x" * 200),
        created=float(number),
        accessed=float(number),
    )


async def filled(path: Path, tasks: int = 200) -> None:
    async with opened(path) as store:
        await store.nodes.add(Node(address=Address("a", 1), token=Token("s")))
        await asyncio.gather(*(store.tasks.create(task(number)) for number in range(tasks)))


async def found(path: Path) -> set[str]:
    async with opened(path) as store:
        return {each.id for each in await store.tasks.in_states(frozenset(TaskState))}


@pytest.mark.parametrize("wait_for", [1, 7, 150])
async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path, wait_for: int) -> None:
    path = tmp_path / "db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [int(line) for _, line in zip(range(wait_for), writer.stdout, strict=False)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert {f"t{number}" for number in acknowledged} <= await found(path)


async def test_everything_is_there_again_and_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "db"
    await filled(path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert len(await found(path)) == 200
    async with opened(path) as store:
        assert (await store.nodes.all())[0].token == Token("s")


@pytest.mark.parametrize("damage", ["torn", "overwritten", "foreign", "empty", "header"])
async def test_damage_never_stops_the_start_and_loses_only_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "db"
    await filled(path)
    content = bytearray(path.read_bytes())
    match damage:
        case "torn":
            content = content[: len(content) * 2 // 3]
        case "overwritten":
            content[len(content) // 2 : len(content) // 2 + 4096] = os.urandom(4096)
        case "foreign":
            content = bytearray(b'{"this": "is no database"}')
        case "empty":
            content = bytearray()
        case "header":
            content[:100] = b"\0" * 100
    path.write_bytes(content)
    survivors = await found(path)
    if damage in ("torn", "overwritten"):
        assert len(survivors) > 40
    if damage != "empty":
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert any("damaged" in record.getMessage() for record in warnings)
        aside = list(tmp_path.glob("db.damaged-*"))
        assert any(each.read_bytes() == bytes(content) for each in aside)
    assert await found(path) == survivors  # and the fresh one is sound


async def test_one_row_that_cannot_be_read_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tasks SET rest = '{' WHERE id = 't1'")
    connection.close()
    assert await found(path) == {"t0", "t2"}


async def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreTrouble, match="newer"):
        await opened(path).__aenter__()
    assert path.read_bytes() == before


async def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "db"):
        with pytest.raises(StoreTrouble):
            await opened(tmp_path / "db").__aenter__()
    async with opened(tmp_path / "db"):
        pass


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as store:
        pass
    with pytest.raises(StoreTrouble, match="closed"):
        await store.tasks.create(task(1))


async def test_a_cancelled_caller_cannot_part_memory_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as store:
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(store.tasks.create(task(number))) for number in range(50)]
            await asyncio.sleep(0)
            for each in waiting[::2]:
                each.cancel()
        remembered = {each.id for each in await store.tasks.in_states(frozenset(TaskState))}
    assert await found(path) == remembered
    assert {each.result().id for each in waiting if not each.cancelled()} <= remembered


async def test_a_disk_that_is_full_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with opened(path) as store:
        made = await store.tasks.create(task(1))
        executor, connection = store._executor, store._database._connection
        assert executor is not None
        assert connection is not None
        executor.submit(
            connection.execute, "PRAGMA max_page_count = 1"
        ).result()  # as large as it is, no larger
        with pytest.raises(StoreTrouble):
            await asyncio.gather(*(store.tasks.create(task(number)) for number in range(2, 400)))
        assert await store.tasks.get(made.id) == made
