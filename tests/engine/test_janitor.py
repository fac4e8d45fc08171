"""What nobody will ask for again goes; what somebody still may, stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.types import TaskState
from clusterodm_py.engine import janitor as subject
from clusterodm_py.engine.janitor import Janitor, Retention
from clusterodm_py.store.tables import Change, DropTask, PutTask
from harness.engine import ID, Parts, a_task, an_id, engine, fill, until

KEEP = Retention(upload=100.0, task=1000.0)


def a_janitor(parts: Parts) -> Janitor:
    return Janitor(store=parts.store, spool=parts.spool, clock=parts.clock, retention=KEEP)


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
