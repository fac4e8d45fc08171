"""Room for new uploads, taken from running tasks: what is kept lest a node is lost goes before anything is refused.

Never touches the upload of a task that is not on a node: nobody else has that.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import Task, TaskState
from clusterodm_py.engine.records import change
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)


class Reclaim:
    """Gives up uploads of running tasks; `free` is what `Spool.pressed` asks for."""

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store = store
        self._spool = spool

    async def free(self, missing: int) -> bool:
        """Give up uploads of running tasks, those committed first going first, until `missing` bytes are free.

        False, and none is given up, when all of them together would not be enough.
        """
        try:
            candidates = await self._candidates()
        except StoreTrouble as trouble:
            logger.warning("no room can be made for an upload: %s", trouble)
            return False
        if sum(self._spool.size(task.id) for task in candidates) < missing:
            return False
        freed = 0
        for task in candidates:
            if freed < missing:
                freed += await self._give_up(task)
        return freed >= missing

    async def _candidates(self) -> list[Task]:
        """Tasks on nodes that have something to give; first those that gave it up already, when that was cut short."""
        running = await self._store.tasks.in_states({TaskState.ON_NODE})
        holding = [task for task in running if self._spool.size(task.id)]
        return sorted(holding, key=lambda task: (task.recoverable, task.committed or task.created))

    async def _give_up(self, task: Task) -> int:
        """Bytes that are free now. The record comes first: it must never promise what is not there any more."""
        try:
            noted = await change(
                self._store.tasks,
                task.id,
                {TaskState.ON_NODE},
                lambda known: replace(known, recoverable=False),
            )
        except StoreTrouble as trouble:
            logger.warning("task=%s node=%s its upload is kept: %s", task.id, task.node, trouble)
            return 0
        if noted is None:  # it ended, or needs its upload again
            return 0
        size = self._spool.size(task.id)
        await self._spool.discard(task.id)
        logger.warning(
            "task=%s node=%s its upload of %d bytes is given up to make room: the task is lost if its node is",
            task.id,
            task.node,
            size,
        )
        return size
