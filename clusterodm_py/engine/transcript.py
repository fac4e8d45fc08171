"""A task's output as its clients see it, from its first node to its last: lines only ever come after what was there.

Its lines are, in this order: those of earlier runs (the first `task.kept` lines in the logbook), our own
(`task.lines`), and those of the present run's node. Clients see no line of a node that is not in the logbook, so a
run that ends early, with its node or without, ends where everybody saw it end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from clusterodm_py.core.errors import Stale
from clusterodm_py.core.output import slice_start
from clusterodm_py.core.types import ENDED, NodeId, Task, TaskId, TaskState
from clusterodm_py.logbook import Logbook
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

_TOLD: Final = ENDED | {TaskState.ON_NODE}
"""States of tasks that a node tells of, if the record names one."""

_Run: TypeAlias = tuple[NodeId | None, int, tuple[str, ...]]


class Transcript:
    """Changes to one task's output come one after the other, together with the changes of its record they go with."""

    def __init__(self, store: Store, logbook: Logbook) -> None:
        self._store = store
        self._logbook = logbook
        self._locks: WeakValueDictionary[TaskId, asyncio.Lock] = WeakValueDictionary()
        self._full = False
        """The last append failed, and the log says so."""

    async def present(self, task: Task) -> bool:
        """Whether the run that `task` was read in is still the one that counts, and told of by its node."""
        record = await self._store.tasks.get(task.id)
        return record is not None and record.state in _TOLD and _run(record) == _run(task)

    async def known(self, task: Task) -> int:
        """How many lines of the present run's node are kept."""
        return max(0, await self._logbook.length(task.id) - own(task))

    async def continues(self, task: Task, first: int, lines: Sequence[str]) -> bool:
        """Whether `lines` are the node's from its line `first` on, which is known: else it began its output anew."""
        if not lines:
            return False
        (kept,) = await self._logbook.read(task.id, own(task) + first, own(task) + first + 1)
        return kept in ("", lines[0])  # empty: it was lost, or did not fit

    async def take(self, task: Task, first: int, lines: Sequence[str]) -> bool:
        """Keep what the task's node answered from its line `first` on.

        False when the run of `task` is not the present one any more: then nobody should see those lines.
        """
        async with self._lock(task.id):
            if not await self.present(task):
                return False
            await self._take_own(task)
            if lines and first <= await self.known(task):  # what lies between is for the tracker to ask for
                await self._append(task, own(task) + first, lines)
            return True

    async def sealed(self, task: Task, line: str) -> Task | None:
        """Save `task`, a record ON_NODE as the caller changed it, as the end of its present run: all its output so far
        is kept, and goes on with `line`.

        None, with nothing changed, when somebody else changed the record since it was read.
        """
        async with self._lock(task.id):
            record = await self._store.tasks.get(task.id)
            if record is None or record.version != task.version:
                return None
            await self._take_own(task)
            kept = max(own(task), await self._logbook.length(task.id))
            try:
                return await self._store.tasks.save(replace(task, kept=kept, lines=(line,)))
            except Stale:
                return None

    async def length(self, task: Task) -> int:
        """How many lines can be read without asking any node."""
        if task.node is None or task.state not in _TOLD:
            return own(task)
        return max(own(task), await self._logbook.length(task.id))

    async def read(self, task: Task, text: str | None) -> list[str]:
        """The lines from `text` on, as a client asks for them, without asking any node."""
        length = await self.length(task)
        return await self.lines(task, slice_start(text, length), length)

    async def lines(self, task: Task, first: int, last: int) -> list[str]:
        """The lines with numbers from `first` to before `last`."""
        found = await self._logbook.read(task.id, first, min(last, task.kept))
        found += task.lines[max(0, first - task.kept) : max(0, last - task.kept)]
        return found + await self._logbook.read(task.id, max(first, own(task)), last)

    async def front(self, task: Task) -> list[str]:
        """The lines before those of the task's present node."""
        return await self.lines(task, 0, own(task))

    async def discard(self, task: TaskId) -> None:
        """Forget the output of a task whose record is gone."""
        async with self._lock(task):
            await self._logbook.discard(task)

    async def sweep(self, keep: Collection[TaskId]) -> None:
        """Forget the output of every task that is not in `keep`."""
        await self._logbook.sweep(keep)

    async def _take_own(self, task: Task) -> None:
        if await self._logbook.length(task.id) < own(task):
            await self._append(task, task.kept, task.lines)

    async def _append(self, task: Task, first: int, lines: Sequence[str]) -> None:
        """A disk that takes no more may cost lines, but never a task."""
        try:
            await self._logbook.append(task.id, first, lines)
        except OSError as error:
            logger.warning(
                "task=%s %d lines of its output were not kept: %s", task.id, len(lines), error.strerror
            )

    def _lock(self, task: TaskId) -> asyncio.Lock:
        return self._locks.setdefault(task, asyncio.Lock())


def own(task: Task) -> int:
    """How many lines stand in front of those of the task's node."""
    return task.kept + len(task.lines)


def _run(task: Task) -> _Run:
    """What tells one run of a task from the next: there is a line of ours between any two."""
    return task.node, task.kept, task.lines
