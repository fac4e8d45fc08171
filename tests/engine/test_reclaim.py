"""Uploads of running tasks make room for new ones: the longest running first, only if that is enough, never others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import LimitReached
from clusterodm_py.core.types import Task, TaskId, TaskState
from clusterodm_py.engine.reclaim import Reclaim
from clusterodm_py.store.tables import Change, PutTask
from clusterodm_py.uploads.spool import Spool, SpoolPolicy
from harness.engine import NOW, FragileStore, a_task, an_id

OLD, NEW, OTHER = an_id(1), an_id(2), an_id(3)
SIZE = 100


class Cluster:
    """A store, a spool with room for three uploads, and what makes room there."""

    def __init__(self, spool: Spool) -> None:
        self.store = FragileStore()
        self.spool = spool
        self.reclaim = Reclaim(self.store, spool)

    async def keep(self, task: TaskId, state: TaskState = TaskState.ON_NODE, **changes: object) -> Task:
        await self.upload(task)
        if state is TaskState.ON_NODE:
            self.spool.settle(task)
        return await self.store.tasks.create(a_task(task, state, **changes))

    async def upload(self, task: TaskId) -> None:
        async def body() -> AsyncIterator[bytes]:
            head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
            yield head + b"x" * SIZE + b"\r\n--b--\r\n"

        await self.spool.open(task, a_task().owner)
        await self.spool.receive(task, body(), "b", max_files=None)

    def recoverable(self, task: TaskId) -> bool:
        return self.store.tables.tasks[task].recoverable

    def holds(self, *tasks: TaskId) -> list[bool]:
        return [self.spool.size(task) > 0 for task in tasks]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Cluster]:
    async with Spool(folder, SpoolPolicy(quota=3 * SIZE)) as spool:
        yield Cluster(spool)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with opened(tmp_path) as cluster:
        yield cluster


async def test_the_task_committed_first_gives_up_first_and_no_more_than_needed(cluster: Cluster) -> None:
    await cluster.keep(NEW, committed=NOW + 9, created=NOW)
    await cluster.keep(OLD, committed=NOW + 1, created=NOW + 1)
    await cluster.keep(OTHER, committed=NOW + 10)
    assert await cluster.reclaim.free(1)
    assert cluster.holds(OLD, NEW, OTHER) == [False, True, True]
    assert [cluster.recoverable(task) for task in (OLD, NEW, OTHER)] == [False, True, True]
    assert await cluster.reclaim.free(SIZE + 1)
    assert cluster.holds(NEW, OTHER) == [False, False]


async def test_nothing_is_given_up_where_all_would_not_be_enough(cluster: Cluster) -> None:
    await cluster.keep(OLD)
    await cluster.keep(NEW)
    assert not await cluster.reclaim.free(2 * SIZE + 1)
    assert cluster.holds(OLD, NEW) == [True, True]
    assert cluster.recoverable(OLD)
    assert cluster.recoverable(NEW)


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.ON_NODE])
async def test_the_only_copy_of_an_upload_is_never_given_up(cluster: Cluster, state: TaskState) -> None:
    await cluster.keep(OLD, state)
    assert not await cluster.reclaim.free(1)
    assert cluster.holds(OLD) == [True]
    assert cluster.recoverable(OLD)


async def test_the_record_says_so_before_the_files_are_gone(cluster: Cluster) -> None:
    await cluster.keep(OLD)
    held: list[bool] = []

    def looks(change: Change) -> bool:
        held.extend(cluster.holds(OLD))
        return False

    cluster.store.broken = looks
    assert await cluster.reclaim.free(1)
    assert held == [True]


async def test_a_record_that_cannot_be_changed_keeps_its_files_and_the_next_task_gives(
    cluster: Cluster,
) -> None:
    await cluster.keep(OLD, committed=NOW)
    await cluster.keep(NEW, committed=NOW + 1)
    cluster.store.broken = lambda _: True
    assert await cluster.reclaim.free(1)
    assert cluster.holds(OLD, NEW) == [True, False]
    assert cluster.recoverable(OLD)


async def test_a_task_that_needs_its_upload_again_by_then_keeps_it(cluster: Cluster) -> None:
    await cluster.keep(OLD, committed=NOW)
    await cluster.keep(NEW, committed=NOW + 1)

    def loses_the_node_of_the_second(change: Change) -> bool:
        record = replace(cluster.store.tables.tasks[NEW], state=TaskState.QUEUED)
        cluster.store.tables.apply(PutTask(record))
        return False

    cluster.store.broken = loses_the_node_of_the_second
    assert not await cluster.reclaim.free(SIZE + 1)
    assert cluster.holds(OLD, NEW) == [False, True]
    assert cluster.recoverable(NEW)


async def test_what_was_noted_but_not_deleted_before_goes_first(cluster: Cluster) -> None:
    await cluster.keep(OLD, committed=NOW)
    await cluster.keep(NEW, committed=NOW + 1, recoverable=False)
    assert await cluster.reclaim.free(1)
    assert cluster.holds(OLD, NEW) == [True, False]


async def test_new_uploads_find_room_until_nothing_is_left_to_give_up(cluster: Cluster) -> None:
    cluster.spool.pressed = cluster.reclaim.free
    await cluster.keep(OLD, committed=NOW)
    await cluster.keep(NEW, committed=NOW + 1)
    await asyncio.gather(*(cluster.upload(an_id(number)) for number in (11, 12, 13)))
    assert cluster.holds(OLD, NEW) == [False, False]
    assert cluster.spool.usage() == 3 * SIZE
    with pytest.raises(LimitReached, match="all uploads may take"):
        await cluster.upload(an_id(14))
    assert cluster.holds(an_id(11), an_id(12), an_id(13), an_id(14)) == [True, True, True, False]


async def test_one_upload_more_costs_one_kept_upload_however_many_ask(cluster: Cluster) -> None:
    cluster.spool.pressed = cluster.reclaim.free
    for number in (1, 2, 3):
        await cluster.keep(an_id(number), committed=NOW + number)
    await asyncio.gather(*(cluster.spool.admit(SIZE) for _ in range(20)))
    assert cluster.holds(OLD, NEW, OTHER) == [False, True, True]
