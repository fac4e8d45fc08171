"""What nobody will ask for again goes; what somebody still may, stays."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.types import NodeId, TaskState
from clusterodm_py.engine import janitor as subject
from clusterodm_py.engine.janitor import Janitor, Retention
from clusterodm_py.engine.traces import Traces
from clusterodm_py.store.tables import Change, DropTask, PutTask
from clusterodm_py.uploads.spool import Spool, SpoolPolicy
from harness.engine import ALICE, ID, NOW, Parts, a_task, an_id, engine, fill, until

KEEP = Retention(upload=100.0, task=1000.0)


def a_janitor(parts: Parts) -> Janitor:
    return Janitor(
        store=parts.store, spool=parts.spool, traces=parts.traces, clock=parts.clock, retention=KEEP
    )


@pytest.mark.parametrize(
    ("state", "idle", "stays"),
    [
        (TaskState.SPOOLING, 99, True),
        (TaskState.SPOOLING, 101, False),
        (TaskState.QUEUED, 9999, True),
        (TaskState.ON_NODE, 9999, True),
        (TaskState.FAILED, 999, True),
        (TaskState.FINISHED, 1001, False),
    ],
)
async def test_records_go_when_their_time_is_up(
    tmp_path: Path, state: TaskState, idle: float, stays: bool
) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=state))
        parts.clock.now += idle
        await a_janitor(parts).sweep()
        assert (ID in parts.store.tables.tasks) is stays
        if not stays:
            assert await parts.spool.files(ID) == ()


async def test_the_files_of_a_failed_dispatch_go_before_its_record(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=TaskState.FAILED))
        parts.clock.now += 101
        await a_janitor(parts).sweep()
        assert ID in parts.store.tables.tasks
        assert await parts.spool.files(ID) == ()


async def test_being_asked_for_puts_off_the_end(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=TaskState.FINISHED))
        parts.clock.now += 1001
        await parts.store.tasks.touch(ID, parts.clock.now - 10)
        await a_janitor(parts).sweep()
        assert ID in parts.store.tables.tasks


async def test_an_upload_committed_while_others_were_swept_is_kept(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        for number in (1, 2):
            await parts.keep(a_task(an_id(number), TaskState.SPOOLING, committed=None, created=number))
        parts.clock.now += 101

        def commits_the_second(change: Change) -> bool:
            if change == DropTask(an_id(1)):
                record = parts.record(an_id(2))
                parts.store.tables.apply(PutTask(replace(record, state=TaskState.QUEUED)))
            return False

        parts.store.broken = commits_the_second
        await a_janitor(parts).sweep()
        assert set(parts.store.tables.tasks) == {an_id(2)}
        assert await parts.spool.files(an_id(2)) != ()


async def test_a_start_clears_files_without_a_task(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task())
        await fill(parts.spool, an_id(2), ["a.jpg"])
        await a_janitor(parts).start()
        assert await parts.spool.files(ID) != ()
        assert await parts.spool.files(an_id(2)) == ()


@asynccontextmanager
async def after_a_restart(parts: Parts) -> AsyncIterator[Spool]:
    """What the next life finds, once its janitor has begun."""
    async with Spool(parts.spool._root, SpoolPolicy()) as spool:
        traces = Traces(
            store=parts.store,
            spool=spool,
            pipelines=parts.pipelines,
            strays=parts.strays,
            transcript=parts.transcript,
        )
        janitor = Janitor(store=parts.store, spool=spool, traces=traces, clock=parts.clock, retention=KEEP)
        await janitor.start()
        yield spool


WAITING = [TaskState.SPOOLING, TaskState.QUEUED, TaskState.PUSHING, TaskState.COMMITTING, TaskState.FAILED]


async def test_files_count_again_for_those_whose_tasks_wait_for_a_node(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        for number, state in enumerate(TaskState):
            await parts.keep(a_task(an_id(number), state))
        async with after_a_restart(parts) as spool:
            gauge = await spool.gauge()
            held = {state for number, state in enumerate(TaskState) if spool.size(an_id(number))}
    assert held == {*WAITING, TaskState.ON_NODE}
    assert gauge.owners == {ALICE.owner: 5 * len(WAITING)}
    assert gauge.used == 5 * len(held)


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.PUSHING])
@pytest.mark.parametrize("left", [(), ("a.jpg",), ("a.jpg", "b.jpg")], ids=["none", "fewer", "shorter"])
async def test_a_task_whose_images_are_gone_fails_before_a_node_gets_what_is_left(
    tmp_path: Path, state: TaskState, left: tuple[str, ...]
) -> None:
    async with engine(tmp_path) as parts:
        touched = (NodeId("127.0.0.1:3000"),)
        await parts.keep(a_task(state=state, images=2, bytes=11, touched=touched, lines=("first",)), left)
        async with after_a_restart(parts) as spool:
            assert spool.usage() == 0
        record = parts.record()
        assert (record.state, record.ended) == (TaskState.FAILED, NOW)
        assert record.error is not None
        assert "gone from this server's disk" in record.error
        assert record.lines == ("first", record.error)
        assert await parts.store.strays.all() == ((ID, touched[0]),)


async def test_a_queued_task_with_all_its_images_is_left_as_it_is(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        kept = await parts.keep(a_task(images=2, bytes=10), ["a.jpg", "b.jpg"])
        async with after_a_restart(parts) as spool:
            assert len(await spool.files(ID)) == 2
        assert parts.record() == kept


@pytest.mark.parametrize("state", [TaskState.COMMITTING, TaskState.ON_NODE])
@pytest.mark.parametrize("left", [(), ("a.jpg",)], ids=["none", "fewer"])
async def test_a_running_task_without_its_upload_is_not_called_recoverable(
    tmp_path: Path, state: TaskState, left: tuple[str, ...]
) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=state, images=2), left)
        async with after_a_restart(parts) as spool:
            assert spool.usage() == 0
        assert (parts.state(), parts.record().recoverable) == (state, False)


async def test_a_task_imported_from_clusterodm_has_no_upload_to_recover(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.store.tasks.create(a_task(state=TaskState.ON_NODE, images=0, committed=None))
        async with after_a_restart(parts):
            assert not parts.record().recoverable


async def test_a_running_task_with_its_upload_stays_recoverable(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        kept = await parts.keep(a_task(state=TaskState.ON_NODE))
        async with after_a_restart(parts) as spool:
            assert await spool.files(ID) != ()
        assert parts.record() == kept


async def test_an_upload_that_was_being_given_up_goes(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, recoverable=False))
        async with after_a_restart(parts) as spool:
            assert await spool.files(ID) == ()
        assert parts.state() is TaskState.ON_NODE


async def test_an_upload_whose_folder_is_gone_is_no_task_any_more_and_one_without_files_is(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path) as parts:
        gone, empty = an_id(1), an_id(2)
        node = NodeId("127.0.0.1:3000")
        await parts.keep(a_task(gone, TaskState.SPOOLING, touched=(node,)))
        await parts.keep(a_task(empty, TaskState.SPOOLING), [])
        shutil.rmtree(tmp_path / "spool" / gone)
        async with after_a_restart(parts):
            assert set(parts.store.tables.tasks) == {empty}
        assert await parts.store.strays.all() == ((gone, node),)


async def test_foreign_things_in_the_spool_folder_are_left_alone(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        root = tmp_path / "spool"
        theirs = [root / "notes.txt", root / "photos" / "files" / "a.jpg", root / an_id(9) / "body.json"]
        for path in theirs:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        (root / an_id(8)).mkdir()  # a task that was just to get its place
        async with after_a_restart(parts):
            assert all(path.read_text() == "x" for path in theirs)
            assert not (root / an_id(8)).exists()


async def test_nodes_drop_their_part_of_an_upload_nobody_commits(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        node = NodeId("127.0.0.1:3000")
        await parts.keep(a_task(an_id(1), TaskState.SPOOLING, touched=(node,)))
        await parts.keep(a_task(an_id(2), TaskState.FINISHED, touched=(node,)))
        parts.clock.now += 1001
        await a_janitor(parts).sweep()
        assert parts.store.tables.tasks == {}
        assert await parts.store.strays.all() == ((an_id(1), node),)


async def test_a_full_disk_does_not_stop_the_sweeping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SWEEP_SECONDS", 0.01)
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=TaskState.FINISHED))
        parts.clock.now += 1001
        parts.store.broken, parts.store.failures = lambda _: True, 2
        parts.background.start("janitor", a_janitor(parts).run())
        await until(lambda: ID not in parts.store.tables.tasks)
        await asyncio.sleep(0)
        assert parts.store.failed == 2
