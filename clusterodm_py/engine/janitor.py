"""Forgets what nobody will ask for again: abandoned uploads, ended tasks, files without a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.types import ENDED, Task, TaskState
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in seconds."""

    upload: float = 48 * 3600.0
    """An upload without a commit, since its last file; also the files of a task that could not be dispatched."""
    task: float = 5 * 86400.0
    """An ended task, since somebody last asked for it (contract §5.6)."""


class Janitor:
    """Sweeps now and then; `start` also clears what a crash left on disk."""

    def __init__(
        self, *, store: Store, spool: Spool, clock: Callable[[], float], retention: Retention
    ) -> None:
        self._store = store
        self._spool = spool
        self._clock = clock
        self._retention = retention

    async def start(self) -> None:
        """Clear the spool of everything that belongs to no task. Call before anything is uploaded."""
        tasks = await self._store.tasks.in_states(frozenset(TaskState))
        await self._spool.sweep({task.id for task in tasks})

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
            except Exception:
                logger.exception("the sweep failed; it is tried again")
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        now = self._clock()
        for task in await self._store.tasks.in_states(ENDED | {TaskState.SPOOLING}):
            idle = now - task.accessed
            if self._expired(task, now):
                await self._forget(task, now)
            elif task.state in ENDED and idle > self._retention.upload:
                await self._spool.discard(task.id)

    def _expired(self, task: Task, now: float) -> bool:
        kept = self._retention.upload if task.state is TaskState.SPOOLING else self._retention.task
        return task.state in ENDED | {TaskState.SPOOLING} and now - task.accessed > kept

    async def _forget(self, task: Task, now: float) -> None:
        current = await self._store.tasks.get(task.id)
        if current is None or not self._expired(current, now):  # committed, restarted or asked for meanwhile
            return
        logger.info("task=%s forgotten: %s, and nobody asked for it for long", task.id, task.state)
        await self._store.tasks.remove(task.id)
        await self._spool.discard(task.id)
