"""Everything that is kept of a task: its record, its files, its output, and what is under way to a node."""

from __future__ import annotations

from clusterodm_py.core.types import Task, TaskState
from clusterodm_py.engine.pipeline import Pipelines
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool


class Traces:
    """One way to forget a task, for those who may."""

    def __init__(
        self, *, store: Store, spool: Spool, pipelines: Pipelines, strays: Strays, transcript: Transcript
    ) -> None:
        self._store = store
        self._spool = spool
        self._pipelines = pipelines
        self._strays = strays
        self._transcript = transcript

    async def erase(self, task: Task) -> None:
        """Forget `task`. Whether its node should, too, is the caller's to say; of an upload, nodes always do."""
        await self._pipelines.drop(task.id)
        if task.state is TaskState.SPOOLING:
            current = await self._store.tasks.get(task.id)
            await self._strays.add(task.id, (current or task).touched)
        await self._store.tasks.remove(task.id)
        await self._spool.discard(task.id)
        await self._transcript.discard(task.id)

    async def sweep(self) -> None:
        """Delete files and output of tasks that have no record."""
        keep = {task.id for task in await self._store.tasks.in_states(frozenset(TaskState))}
        await self._spool.sweep(keep)
        await self._transcript.sweep(keep)
