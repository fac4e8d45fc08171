"""The file under the store: writes that fail, openers that wait, accesses that are written late, versions."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import Address, Node, NodeId, OwnerId, Task, TaskId, TaskRequest, TaskState
from clusterodm_py.store.database import migrate
from clusterodm_py.store.sqlite import FLUSH_EVERY, SqliteStore

HOLDER = """
import asyncio, sys
from pathlib import Path
from clusterodm_py.store.sqlite import SqliteStore

async def main():
    async with SqliteStore(Path(sys.argv[1]), clock=lambda: 0.0):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def task(number: int = 1) -> Task:
    return Task(
        id=TaskId(f"t{number}"),
        owner=OwnerId("o"),
        state=TaskState.SPOOLING,
        request=TaskRequest(),
        created=1.0,
        accessed=1.0,
    )


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path, clock=lambda: 0.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(tmp_path / "db") as store:
        yield store


@contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """The system refuses to let the journal grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = path.with_name(f"{path.name}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def on_disk(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def test_a_failed_write_changes_nothing_and_the_next_one_counts(
    store: SqliteStore, tmp_path: Path
) -> None:
    node = Node(address=Address("a", 1))
    made = await store.tasks.create(task())
    await store.strays.add(made.id, node.id)
    await store.notes.put("key", "old")

    async def change_everything() -> list[object]:
        return await asyncio.gather(
            store.tasks.save(replace(made, images=5)),
            store.tasks.create(task(2)),
            store.nodes.add(node),
            store.strays.remove(made.id, node.id),
            store.strays.add(made.id, NodeId("b:1")),
            store.notes.put("key", "new"),
            store.notes.put("other", "new"),
            return_exceptions=True,
        )

    with disk_full(tmp_path / "db"):
        assert all(isinstance(answer, StoreTrouble) for answer in await change_everything())
        assert await store.tasks.get(made.id) == made
        assert await store.tasks.in_states(frozenset(TaskState)) == (made,)
        assert await store.nodes.all() == ()
        assert await store.strays.all() == ((made.id, node.id),)
        assert (await store.notes.get("key"), await store.notes.get("other")) == ("old", None)
    answers = await change_everything()
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert await store.tasks.active(OwnerId("o")) == 0
    assert on_disk(tmp_path / "db", "SELECT id, version, images FROM tasks ORDER BY id") == [
        ("t1", 2, 5),
        ("t2", 1, 0),
    ]
    assert on_disk(tmp_path / "db", "SELECT value FROM notes") == [("new",), ("new",)]


async def test_changes_written_together_fail_together(store: SqliteStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END")
    first, *together = await asyncio.gather(
        store.tasks.create(task(1)),
        store.tasks.create(task(2)),
        store.notes.put("key", "value"),
        return_exceptions=True,
    )
    assert isinstance(first, Task)
    assert all(isinstance(answer, StoreTrouble) for answer in together)
    await store.tasks.create(task(3))
    assert on_disk(tmp_path / "db", "SELECT id FROM tasks ORDER BY id") == [("t1",), ("t3",)]


async def test_a_failed_write_tells_why_but_not_where(store: SqliteStore, tmp_path: Path) -> None:
    await store.notes.put("key", "value")
    with disk_full(tmp_path / "db"), pytest.raises(StoreTrouble) as trouble:
        await store.tasks.create(task())
    assert "disk" in str(trouble.value)
    assert str(tmp_path) not in str(trouble.value)


async def test_what_is_being_written_is_not_seen_yet(store: SqliteStore) -> None:
    creating = asyncio.gather(store.tasks.create(task(1)), store.tasks.create(task(2)))
    await asyncio.sleep(0)
    assert await store.tasks.get(TaskId("t1")) is None  # its writing has begun
    assert await store.tasks.get(TaskId("t2")) is None  # its turn has not come
    await creating
    assert len(await store.tasks.of_owner(OwnerId("o"))) == 2


async def test_an_access_during_a_write_is_not_lost(store: SqliteStore) -> None:
    made = await store.tasks.create(task())
    saving = asyncio.gather(store.tasks.save(replace(made, images=1)))
    await asyncio.sleep(0)
    await store.tasks.touch(made.id, 9.0)
    await saving
    found = await store.tasks.get(made.id)
    assert found is not None
    assert (found.images, found.accessed) == (1, 9.0)


async def test_accesses_reach_the_disk_once_a_minute_and_at_the_end(tmp_path: Path) -> None:
    path, accessed = tmp_path / "db", "SELECT accessed FROM tasks"
    async with opened(path) as store:
        made = await store.tasks.create(task())
        for now, written in [(1000.0, 1000.0), (1001.0 + FLUSH_EVERY / 2, 1000.0), (1000 + FLUSH_EVERY,) * 2]:
            await store.tasks.touch(made.id, now)
            await store.notes.put("written after the access", str(now))
            assert on_disk(path, accessed) == [(written,)]
        await store.tasks.touch(made.id, 1100.0)
    assert on_disk(path, accessed) == [(1100.0,)]


async def test_accesses_that_could_not_be_written_are_written_later(
    store: SqliteStore, tmp_path: Path
) -> None:
    made = await store.tasks.create(task())
    with disk_full(tmp_path / "db"):
        await store.tasks.touch(made.id, 1000.0)
        with pytest.raises(StoreTrouble):
            await store.notes.put("behind", "it")
    other = await store.tasks.create(task(2))
    await store.tasks.touch(other.id, 1000.0 + FLUSH_EVERY)
    await store.notes.put("behind", "it")
    assert on_disk(tmp_path / "db", "SELECT accessed FROM tasks ORDER BY id") == [(1000.0,), (1060.0,)]


async def test_a_second_process_is_told_whom_to_stop_until_the_first_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            with pytest.raises(StoreTrouble, match=rf"process {holder.pid}\): stop that one"):
                await opened(path).__aenter__()
        finally:
            holder.send_signal(signal.SIGKILL)
        holder.wait()
        async with opened(path):
            pass


async def test_a_place_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(StoreTrouble, match="cannot be opened"):
        await opened(tmp_path / "db").__aenter__()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["db", "db.lock"]


async def test_an_opener_that_gave_up_leaves_the_file_to_the_next(tmp_path: Path) -> None:
    opening = asyncio.gather(opened(tmp_path / "db").__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            try:
                async with opened(tmp_path / "db"):
                    return
            except StoreTrouble:  # the first is on its way out
                await asyncio.sleep(0.01)


async def test_a_store_may_be_opened_again(tmp_path: Path) -> None:
    store = opened(tmp_path / "db")
    for number in (1, 2):
        async with store:
            await store.tasks.create(task(number))
    assert on_disk(tmp_path / "db", "SELECT id FROM tasks ORDER BY seq") == [("t1",), ("t2",)]


async def test_order_survives_changes_and_reopening(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as store:
        for host in "cab":
            await store.nodes.add(Node(address=Address(host, 1)))
        made = [await store.tasks.create(task(number)) for number in (3, 1, 2)]
        await store.nodes.replace(Node(address=Address("c", 1), locked=True))
        await store.tasks.save(made[0])
    async with opened(tmp_path / "db") as store:
        assert [node.address.host for node in await store.nodes.all()] == ["c", "a", "b"]
        assert [each.id for each in await store.tasks.of_owner(OwnerId("o"))] == ["t3", "t1", "t2"]


def test_migrations_run_from_where_the_file_is() -> None:
    steps = ["CREATE TABLE one (a);", "ALTER TABLE one ADD COLUMN b;"]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, steps[:1])
        connection.execute("INSERT INTO one VALUES (1)")
        for _ in range(2):
            migrate(connection, steps)
        assert connection.execute("SELECT a, b FROM one").fetchall() == [(1, None)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_version_before_it() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, ["CREATE TABLE one (a);", "CREATE TABLE two (a); CREATE TABLE one (b);"])
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]
