"""A record that others change too is read and decided upon anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import Task, TaskState
from clusterodm_py.engine.records import change
from clusterodm_py.store.tables import PutTask
from harness.engine import ID, FragileStore, a_task


async def test_a_change_that_lost_the_race_is_decided_anew() -> None:
    store = FragileStore()
    await store.tasks.create(a_task())
    rounds = 0

    def how(known: Task) -> Task:
        nonlocal rounds
        rounds += 1
        if rounds == 1:  # somebody else is faster
            store.tables.apply(PutTask(replace(known, version=known.version + 1, error="theirs")))
        return replace(known, attempts=5)

    changed = await change(store.tasks, ID, {TaskState.QUEUED}, how)
    assert changed is not None
    assert (rounds, changed.attempts, changed.error) == (2, 5, "theirs")


async def test_a_task_that_is_gone_or_elsewhere_is_left_alone() -> None:
    store = FragileStore()
    assert await change(store.tasks, ID, {TaskState.QUEUED}, lambda known: replace(known, attempts=1)) is None
    kept = await store.tasks.create(a_task())
    assert (
        await change(store.tasks, ID, {TaskState.ON_NODE}, lambda known: replace(known, attempts=1)) is None
    )
    assert await store.tasks.get(ID) == kept


async def test_nothing_to_change_is_not_written() -> None:
    store = FragileStore()
    kept = await store.tasks.create(a_task())
    assert await change(store.tasks, ID, {TaskState.QUEUED}, lambda known: known) == kept


async def test_a_full_disk_is_the_callers_to_know() -> None:
    store = FragileStore()
    await store.tasks.create(a_task())
    store.broken = lambda _: True
    with pytest.raises(StoreTrouble):
        await change(store.tasks, ID, {TaskState.QUEUED}, lambda known: replace(known, attempts=1))
