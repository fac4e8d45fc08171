"""Forgets what nobody will ask for again: abandoned uploads, ended tasks, files without a task; at the start it also
makes records and files agree that a crash, or somebody's hand, drove apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clusterodm_py.core.types import ENDED, Task, TaskState
from clusterodm_py.engine.records import change
from clusterodm_py.engine.traces import Traces
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 600.0

_GONE: Final = (
    "The images of this task are gone from this server's disk, so no processing node can be given them. "
    "Create the task again."
)


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
        self, *, store: Store, spool: Spool, traces: Traces, clock: Callable[[], float], retention: Retention
    ) -> None:
        self._store = store
        self._spool = spool
        self._traces = traces
        self._clock = clock
        self._retention = retention

    async def start(self) -> None:
        """Make records and files agree again after whatever happened to either. Call before anything else runs."""
        await self._traces.sweep()
        for task in await self._store.tasks.in_states(frozenset(TaskState)):
            await self._reconcile(task)

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

    async def _reconcile(self, task: Task) -> None:
        """What the record says and what the spool has are made to agree; no file is kept that nobody will use."""
        whole = await self._whole(task)
        match task.state:
            case TaskState.SPOOLING if not self._spool.has(task.id):
                logger.warning("task=%s forgotten: what was uploaded of it is gone from the disk", task.id)
                await self._traces.erase(task)
            case TaskState.QUEUED | TaskState.PUSHING if not whole:
                await self._fail(task)
            case TaskState.COMMITTING | TaskState.ON_NODE if task.recoverable and not whole:
                await self._give_up(task)
            case TaskState.ON_NODE if task.recoverable:
                self._spool.settle(task.id)
            case TaskState.ON_NODE | TaskState.FINISHED | TaskState.CANCELED:
                await self._spool.discard(task.id)
            case _:
                self._spool.assign(task.id, task.owner)

    async def _whole(self, task: Task) -> bool:
        """Whether everything that was committed is there; a power cut may leave a file short, too."""
        files = await self._spool.files(task.id)
        return len(files) >= max(1, task.images) and sum(file.size for file in files) >= task.bytes

    async def _fail(self, task: Task) -> None:
        """It would run with fewer images than were uploaded, or with none."""
        logger.error("task=%s failed: its images are gone from the disk", task.id)
        now = self._clock()
        await change(
            self._store.tasks,
            task.id,
            {TaskState.QUEUED, TaskState.PUSHING},
            lambda known: replace(
                known, state=TaskState.FAILED, node=None, ended=now, error=_GONE, lines=(*known.lines, _GONE)
            ),
        )
        await self._withdraw(task)
        await self._spool.discard(task.id)

    async def _give_up(self, task: Task) -> None:
        """Its node has everything; another one could not be given it."""
        logger.warning("task=%s node=%s its upload is gone: it is lost if its node is", task.id, task.node)
        await change(
            self._store.tasks, task.id, {task.state}, lambda known: replace(known, recoverable=False)
        )
        await self._spool.discard(task.id)

    def _expired(self, task: Task, now: float) -> bool:
        kept = self._retention.upload if task.state is TaskState.SPOOLING else self._retention.task
        return task.state in ENDED | {TaskState.SPOOLING} and now - task.accessed > kept

    async def _forget(self, task: Task, now: float) -> None:
        current = await self._store.tasks.get(task.id)
        if current is None or not self._expired(current, now):  # committed, restarted or asked for meanwhile
            return
        logger.info("task=%s forgotten: %s, and nobody asked for it for long", task.id, task.state)
        await self._traces.erase(current)

    async def _withdraw(self, task: Task) -> None:
        """Have nodes drop what they were sent of the task."""
        for node in task.touched:
            await self._store.strays.add(task.id, node)
