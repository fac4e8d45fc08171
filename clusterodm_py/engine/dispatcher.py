"""Brings every committed task to a node: one worker per task, from its commit until a node runs it.

Decides nothing about which node (`binder`) or whether a node took a task (`handover`): it keeps the order of events,
and after a crash it takes every task up where its record says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clusterodm_py.core.errors import Stale
from clusterodm_py.core.types import IN_FLIGHT, Health, Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.binder import Binder
from clusterodm_py.engine.handover import Handover, NotTaken, Outcome, Taken, Unsure
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.records import change
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

_WAITING: Final = (
    "Waiting for a processing node: none that may take this task is online. It starts by itself."
)
_SENDING: Final = "Sending the images to a processing node. This can take a few minutes."


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """How stubborn dispatching is."""

    attempts: int = 6
    """Pushes begun before a task is called failed (contract §5.5)."""
    pause: float = 3.0
    """Seconds before all nodes are tried anew, times the attempts so far."""
    patience: float = 0.5
    """Seconds to wait for fresh views before deciding on older ones."""
    recheck: float = 10.0
    """Seconds between two looks for a node when none is eligible and nothing changes."""
    stumble: float = 5.0
    """Seconds before a task is taken up again after a mistake of ours, or of the disk."""
    quiet: float = 2.0
    """Seconds a push may last before its task's output says what it waits for."""
    at_once: int = 4
    """Tasks sent to one node at the same time; more would only slow each other down, and take our sockets."""


class Dispatcher:
    """Owns the workers. `start` takes up what an earlier life left; `submit` starts one for a new commit."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        handover: Handover,
        tracker: Tracker,
        strays: Strays,
        background: Background,
        clock: Callable[[], float],
        policy: DispatchPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._handover = handover
        self._tracker = tracker
        self._strays = strays
        self._background = background
        self._clock = clock
        self._policy = policy
        self._binder = Binder(store, watch, policy.patience)
        self._workers: dict[TaskId, asyncio.Task[None]] = {}
        self._lanes: defaultdict[NodeId, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(policy.at_once)
        )

    async def start(self) -> None:
        for task in await self._store.tasks.in_states({TaskState.QUEUED} | IN_FLIGHT):
            self.submit(task.id)

    def submit(self, task: TaskId) -> None:
        """See the committed task to a node; calling it again changes nothing."""
        worker = self._workers.get(task)
        if worker is None or worker.done():
            worker = self._workers[task] = self._background.start(f"dispatch {task}", self._carry(task))
            worker.add_done_callback(lambda ended: self._dismiss(task, ended))

    async def halt(self, task: TaskId) -> None:
        """Stop working on a task and return when nothing is sent any more; its record stays as it was."""
        if worker := self._workers.get(task):
            worker.cancel()
            await asyncio.wait([worker])

    def _dismiss(self, task: TaskId, ended: asyncio.Task[None]) -> None:
        if self._workers.get(task) is ended:
            del self._workers[task]

    async def _carry(self, task_id: TaskId) -> None:
        tried: set[NodeId] = set()
        more = True
        while more:
            try:
                more = await self._step(task_id, tried)
            except Stale:
                await asyncio.sleep(0)
            except Exception:  # a full disk, or a mistake of ours: the task must not be left lying
                logger.exception("task=%s dispatch stumbled and is taken up again", task_id)
                await asyncio.sleep(self._policy.stumble)

    async def _step(self, task_id: TaskId, tried: set[NodeId]) -> bool:
        """Do what the task's record asks for; False when that is no longer ours."""
        task = await self._store.tasks.get(task_id)
        match task:
            case Task(state=TaskState.QUEUED):
                await self._dispatch(task, tried)
            case Task(state=TaskState.PUSHING):  # ours died in the middle: nothing runs yet, so begin again
                await self._store.tasks.save(_unbound(task))
            case Task(state=TaskState.COMMITTING):
                await self._resume_commit(task, tried)
            case Task(state=TaskState.ON_NODE):
                self._tracker.follow(task_id)
                return False
            case _:
                return False
        return True

    async def _dispatch(self, task: Task, tried: set[NodeId]) -> None:
        bound = await self._binder.bind(task, tried)
        if bound is not None:
            reserved, node = bound
            outcome = await self._push(reserved, node, dirty=node.id in task.touched)
            await self._conclude(task.id, node, outcome, tried)
        elif tried:
            tried.clear()
            await asyncio.sleep(self._policy.pause * max(1, task.attempts))
        elif _with_line(task, _WAITING) != task:
            await self._say(
                task.id, _WAITING
            )  # and look once more: a node may have come while that was written
        else:
            await self._watch.changed(self._policy.recheck)

    async def _push(self, task: Task, node: Node, *, dirty: bool) -> Outcome:
        notice = self._background.start(f"notice {task.id}", self._notice(task.id))
        try:
            async with self._lanes[node.id]:
                if not await self._still_wanted(node):
                    return NotTaken("it went away before the task's turn came", counts=False)
                await self._strays.quiet(task.id, node.id)
                return await self._handover.push(task, node, dirty=dirty)
        finally:
            notice.cancel()

    async def _still_wanted(self, node: Node) -> bool:
        """Whether the node may still be given the task that waited for it: not removed, locked or offline since."""
        known = await self._store.nodes.get(node.id)
        return known is not None and not known.locked and self._watch.health_of(node.id) is not Health.DOWN

    async def _resume_commit(self, task: Task, tried: set[NodeId]) -> None:
        node = await self._store.nodes.get(task.node) if task.node else None
        if node is None:
            await self._requeue(task.id, task.node, "its node was removed while it was being committed")
        else:
            outcome = await self._handover.settle(task, node, asked=True)
            await self._conclude(task.id, node, outcome, tried)

    async def _conclude(self, task: TaskId, node: Node, outcome: Outcome, tried: set[NodeId]) -> None:
        match outcome:
            case Taken():
                await self._taken(task, node)
            case NotTaken(why=why, counts=counts):
                tried.add(node.id)
                await self._not_taken(task, node, why, counts=counts)
            case Unsure(why=why):
                tried.add(node.id)
                await self._requeue(task, node.id, why)

    async def _taken(self, task: TaskId, node: Node) -> None:
        # The slot stays held until the node's own count shows the task, so nobody sees it free in between.
        await self._watch.freshen([node.id], max_age=0.0, patience=2 * self._policy.patience)
        now = self._clock()
        record = await change(
            self._store.tasks,
            task,
            IN_FLIGHT,
            lambda record: replace(record, state=TaskState.ON_NODE, node=node.id, accessed=now),
        )
        if record is not None:
            logger.info("task=%s node=%s running", task, node.id)
            self._tracker.follow(task)
            await self._strays.kept(task, node.id)
            await self._strays.add(task, tuple(other for other in record.touched if other != node.id))

    async def _not_taken(self, task: TaskId, node: Node, why: str, *, counts: bool) -> None:
        logger.warning("task=%s node=%s not taken: %s", task, node.id, why)
        record = await self._store.tasks.get(task)
        if record is not None and record.state is TaskState.COMMITTING:
            await self._strays.add(task, (node.id,))  # should it act on a commit later than it said no
        if counts and record is not None and record.attempts >= self._policy.attempts:
            await self._fail(record, why)
            return
        await change(self._store.tasks, task, IN_FLIGHT, lambda record: _unbound(record, 0 if counts else 1))

    async def _requeue(self, task: TaskId, node: NodeId | None, why: str) -> None:
        """Give the task to another node although this one may have it: it is told to drop it when it is back."""
        logger.warning("task=%s node=%s given up: %s", task, node, why)
        if node is not None:
            await self._strays.add(task, (node,))
        await change(self._store.tasks, task, IN_FLIGHT, _unbound)

    async def _fail(self, task: Task, why: str) -> None:
        text = f"No processing node took the task after {task.attempts} attempts. The last one said: {why}"
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

    async def _notice(self, task: TaskId) -> None:
        await asyncio.sleep(self._policy.quiet)
        await self._say(task, _SENDING)

    async def _say(self, task: TaskId, line: str) -> None:
        held = {TaskState.QUEUED, TaskState.PUSHING}
        await change(self._store.tasks, task, held, lambda record: _with_line(record, line))


def _unbound(task: Task, forgiven: int = 0) -> Task:
    """Waiting for a node again, with so many attempts that do not count."""
    return replace(task, state=TaskState.QUEUED, node=None, attempts=max(0, task.attempts - forgiven))


def _with_line(task: Task, line: str) -> Task:
    """The task with one more output line, once, and never a third: then ODM would count it as running (§11.2)."""
    if line in task.lines or len(task.lines) >= 2:
        return task
    return replace(task, lines=(*task.lines, line))
