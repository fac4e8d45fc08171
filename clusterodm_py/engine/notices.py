"""What clients are told about tasks that must wait in the queue: their status, and a line of output.

A child of a split is told to run while it waits, since ODM's client takes "queued" for "limit reached" and pulls it
back (contract §11.2). Only where nobody but parents of splits hold the slots it could use is it told the truth: each
would wait for the other, and the client, once it knows, processes the submodel itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from clusterodm_py.core.options import is_parent
from clusterodm_py.core.placement import Need, fits
from clusterodm_py.core.types import SERVED, NodeView, Task, TaskState
from clusterodm_py.engine.records import change
from clusterodm_py.store.base import Store

WAITING: Final = "Waiting in the queue for a free processing node."

NOBODY: Final = "Waiting for a processing node: none that may take this task is online. It starts by itself."

_MOST_LINES: Final = 2
"""Of ours before a node has the task: from the third on ODM's client counts it as running (contract §11.2)."""

_AT_ONCE: Final = 100
"""Records changed at the same time."""


class Notices:
    """Keeps the records of waiting tasks as clients should see them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tell(self, tasks: Sequence[Task], views: Sequence[NodeView]) -> list[Task]:
        """Mark `tasks`, for which no slot was found just now. Returns those whose records were changed."""
        stuck = any(task.child for task in tasks) and await self._stuck(views)
        wanted = [_told(task, views, stuck=stuck) for task in tasks]
        due = [after for before, after in zip(tasks, wanted, strict=True) if after != before]
        kept: list[Task] = []
        for start in range(0, len(due), _AT_ONCE):
            saved = await asyncio.gather(*(self._keep(task) for task in due[start : start + _AT_ONCE]))
            kept += [task for task in saved if task is not None]
        return kept

    async def say(self, task: Task, line: str) -> None:
        """One more line of output for a task that is not on a node yet."""
        held = {TaskState.QUEUED, TaskState.PUSHING}
        await change(self._store.tasks, task.id, held, lambda record: _with_line(record, line))

    async def _stuck(self, views: Sequence[NodeView]) -> bool:
        """Whether every slot is held by the parent of a split, and nobody else's task is on a node."""
        served = await self._store.tasks.in_states(SERVED)
        busy = sum(view.queued + view.in_flight for view in views if view.online)
        return bool(served) and busy <= len(served) and all(is_parent(task.options) for task in served)

    async def _keep(self, wanted: Task) -> Task | None:
        return await change(
            self._store.tasks,
            wanted.id,
            {TaskState.QUEUED},
            lambda record: replace(record, waiting=wanted.waiting, lines=wanted.lines),
        )


def _told(task: Task, views: Sequence[NodeView], *, stuck: bool) -> Task:
    need = Need(images=task.images)
    line = WAITING if any(map(fits(need), views)) else NOBODY
    return replace(_with_line(task, line), waiting=not task.child or stuck)


def _with_line(task: Task, line: str) -> Task:
    """The task with one more output line, once, and never more than may be."""
    if line in task.lines or len(task.lines) >= _MOST_LINES:
        return task
    return replace(task, lines=(*task.lines, line))
