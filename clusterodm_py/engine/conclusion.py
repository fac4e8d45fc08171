"""What follows from how a handover ended: the task's record, the slot, the spool, and who is told what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clusterodm_py.core.types import IN_FLIGHT, Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.engine.handover import Incomplete, NotTaken, Outcome, Taken, Unsure
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.records import change
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)

_REFUSED: Final = "No processing node took the task after {attempts} attempts. The last one said: {why}"
_INCOMPLETE: Final = (
    "Images of this task are gone from here, so no processing node can be given it. Create it again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConclusionPolicy:
    """When to give up, and what to keep."""

    attempts: int = 6
    """Pushes begun before a task is called failed (contract §5.5)."""
    patience: float = 1.0
    """Seconds to wait for the count of a node that took a task."""
    keep_spool: bool = True
    """Whether a task's images are kept after a node has them, lest the node is lost."""


class Conclusion:
    """Draws one for each task that was bound to a node."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        spool: Spool,
        tracker: Tracker,
        strays: Strays,
        clock: Callable[[], float],
        policy: ConclusionPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._spool = spool
        self._tracker = tracker
        self._strays = strays
        self._clock = clock
        self._policy = policy

    async def draw(self, task: TaskId, node: Node, outcome: Outcome, tried: set[NodeId]) -> None:
        """Act on the outcome; a node that did not take the task is among `tried` then."""
        match outcome:
            case Taken():
                await self._taken(task, node)
            case NotTaken(why=why, counts=counts):
                tried.add(node.id)
                await self._not_taken(task, node, why, counts=counts)
            case Unsure(why=why):
                tried.add(node.id)
                await self.requeue(task, node.id, why)
            case Incomplete():
                record = await self._store.tasks.get(task)
                if record is not None:
                    await self._fail(record, _INCOMPLETE)

    async def _taken(self, task: TaskId, node: Node) -> None:
        # The slot stays held until the node's own count shows the task, so nobody sees it free in between.
        await self._watch.freshen([node.id], max_age=0.0, patience=self._policy.patience)
        now = self._clock()
        record = await change(
            self._store.tasks,
            task,
            IN_FLIGHT,
            lambda record: replace(
                record,
                state=TaskState.ON_NODE,
                node=node.id,
                accessed=now,
                recoverable=record.recoverable and self._policy.keep_spool,
            ),
        )
        if record is not None:
            logger.info("task=%s node=%s running", task, node.id)
            self._tracker.follow(task)
            await self._strays.kept(task, node.id)
            await self._strays.add(task, tuple(other for other in record.touched if other != node.id))
            await self._release(record)

    async def _release(self, task: Task) -> None:
        """Its images are kept for another node, but not on its owner's account any more; or not at all."""
        if task.recoverable:
            self._spool.settle(task.id)
        else:
            await self._spool.discard(task.id)

    async def _not_taken(self, task: TaskId, node: Node, why: str, *, counts: bool) -> None:
        logger.warning("task=%s node=%s not taken: %s", task, node.id, why)
        record = await self._store.tasks.get(task)
        if record is not None and record.state is TaskState.COMMITTING:
            await self._strays.add(task, (node.id,))  # should it act on a commit later than it said no
        if counts and record is not None and record.attempts >= self._policy.attempts:
            await self._fail(record, _REFUSED.format(attempts=record.attempts, why=why))
            return
        await change(self._store.tasks, task, IN_FLIGHT, lambda record: unbound(record, 0 if counts else 1))

    async def requeue(self, task: TaskId, node: NodeId | None, why: str) -> None:
        """Give the task to another node although this one may have it: it is told to drop it when it is back."""
        logger.warning("task=%s node=%s given up: %s", task, node, why)
        if node is not None:
            await self._strays.add(task, (node,))
        await change(self._store.tasks, task, IN_FLIGHT, unbound)

    async def _fail(self, task: Task, text: str) -> None:
        now = self._clock()
        failed = await change(
            self._store.tasks,
            task.id,
            IN_FLIGHT,
            lambda record: replace(
                record,
                state=TaskState.FAILED,
                node=None,
                ended=now,
                error=text,
                lines=(*record.lines, text),
            ),
        )
        if failed is not None:
            await self._strays.add(task.id, failed.touched)


def unbound(task: Task, forgiven: int = 0) -> Task:
    """Waiting for a node again, with so many attempts that do not count."""
    return replace(task, state=TaskState.QUEUED, node=None, attempts=max(0, task.attempts - forgiven))
