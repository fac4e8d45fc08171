"""Brings every committed task to a node: one worker per task, from its commit until a node runs it.

Decides nothing about which node and when (`scheduler`), or whether a node took a task (`handover`): it keeps the order
of events, and after a crash it takes every task up where its record says.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.errors import Stale
from clusterodm_py.core.types import IN_FLIGHT, Health, Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.conclusion import Conclusion, unbound
from clusterodm_py.engine.handover import Handover, NotTaken, Outcome
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.notices import Notices
from clusterodm_py.engine.pipeline import Pipelines
from clusterodm_py.engine.scheduler import Scheduler
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

_SENDING: Final = "Sending the images to a processing node. This can take a few minutes."


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """How stubborn dispatching is."""

    pause: float = 3.0
    """Seconds before all nodes are tried anew, times the attempts so far."""
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
        scheduler: Scheduler,
        pipelines: Pipelines,
        notices: Notices,
        handover: Handover,
        tracker: Tracker,
        strays: Strays,
        conclusion: Conclusion,
        background: Background,
        policy: DispatchPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._scheduler = scheduler
        self._pipelines = pipelines
        self._notices = notices
        self._handover = handover
        self._tracker = tracker
        self._strays = strays
        self._conclusion = conclusion
        self._background = background
        self._policy = policy
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
                await self._store.tasks.save(unbound(task))
            case Task(state=TaskState.COMMITTING):
                await self._resume_commit(task, tried)
            case Task(state=TaskState.ON_NODE):
                self._tracker.follow(task_id)
                return False
            case _:
                return False
        return True

    async def _dispatch(self, task: Task, tried: set[NodeId]) -> None:
        bound = await self._scheduler.bind(task, tried)
        if bound is None:
            tried.clear()
            await asyncio.sleep(self._policy.pause * max(1, task.attempts))
            return
        reserved, node = bound
        outcome = await self._push(reserved, node, dirty=node.id in task.touched)
        await self._conclusion.draw(task.id, node, outcome, tried)
        self._scheduler.wake()

    async def _push(self, task: Task, node: Node, *, dirty: bool) -> Outcome:
        notice = self._background.start(f"notice {task.id}", self._notice(task))
        try:
            async with self._lanes[node.id]:
                if not await self._still_wanted(node):
                    return NotTaken("it went away before the task's turn came", counts=False)
                await self._strays.quiet(task.id, node.id)
                if await self._pipelines.claim(task, node):
                    return await self._handover.commit(task, node)
                if not await self._still_wanted(node):
                    return NotTaken("it went away while it was sent the upload", counts=False)
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
            await self._conclusion.requeue(
                task.id, task.node, "its node was removed while it was being committed"
            )
        else:
            outcome = await self._handover.settle(task, node, asked=True)
            await self._conclusion.draw(task.id, node, outcome, tried)

    async def _notice(self, task: Task) -> None:
        await asyncio.sleep(self._policy.quiet)
        await self._notices.say(task, _SENDING)
