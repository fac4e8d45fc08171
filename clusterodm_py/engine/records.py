"""Changing a task's record when others change it too: read, decide again, save, until it fits."""

from __future__ import annotations

from collections.abc import Callable, Collection

from clusterodm_py.core.errors import Stale
from clusterodm_py.core.types import Task, TaskId, TaskState
from clusterodm_py.store.base import Tasks


async def change(
    tasks: Tasks, task: TaskId, expected: Collection[TaskState], how: Callable[[Task], Task]
) -> Task | None:
    """Save `how(record)` as long as the record is in one of the `expected` states.

    Returns the record as it is then; None when the task is gone or in another state by now, and then nothing was
    changed.
    """
    while True:
        record = await tasks.get(task)
        if record is None or record.state not in expected:
            return None
        changed = how(record)
        if changed == record:
            return record
        try:
            return await tasks.save(changed)
        except Stale:
            continue
