"""Follows every task on a node to its end, whoever asks or does not ask, and keeps the node's last word on it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from clusterodm_py.auth.base import AccessService
from clusterodm_py.core.errors import NodeRefused, NodeTrouble, Stale, Unreachable
from clusterodm_py.core.lifecycle import state_on_node
from clusterodm_py.core.types import ENDED, Node, NodeId, Task, TaskId, TaskReport, TaskState, TaskStatus
from clusterodm_py.engine.background import Background, woken
from clusterodm_py.engine.failover import Failover
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.listener import Listener
from clusterodm_py.engine.records import change
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPolicy:
    """How tasks are followed."""

    interval: float = 5.0
    """Seconds between two questions about one task."""
    slowest: float = 60.0
    """The same, while its node does not answer."""
    sure: int = 2
    """How often in a row, an interval apart, a node must say that it does not know a task before that is believed."""
    most: float = 200.0
    """Questions per second for all tasks together: with more tasks than that allows, each is asked less often."""
    at_once: int = 4
    """Questions to one node at the same time."""


@dataclass(slots=True)
class _Course:
    """How following one task goes."""

    pause: float = 0.0
    denials: int = 0
    denied: float = -math.inf
    """When the last denial counted, on the loop's clock."""
    terse: bool = False
    """Ask without output: the last question with it was not answered, perhaps because there is so much of it."""


class Tracker:
    """One follower per task on a node. `start` takes up what an earlier life left."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        spool: Spool,
        client: NodeClient,
        transcript: Transcript,
        failover: Failover,
        access: AccessService,
        background: Background,
        clock: Callable[[], float],
        policy: TrackPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._spool = spool
        self._client = client
        self._listener = Listener(client, transcript, at_once=policy.at_once)
        self._failover = failover
        self._access = access
        self._background = background
        self._clock = clock
        self._policy = policy
        self._hints: dict[TaskId, asyncio.Event] = {}
        self.requeued: Callable[[TaskId], None] = lambda _: None
        """Called for a task that must be dispatched again; set by whoever owns the dispatcher."""
        self.finished: Callable[[Task, NodeId], None] = lambda _, __: None
        """Called for a task that a node finished; set by whoever learns from it."""

    async def start(self) -> None:
        for task in await self._store.tasks.in_states({TaskState.ON_NODE}):
            self.follow(task.id)
        if self._access.keeps_tokens:
            for task in await self._store.tasks.in_states(ENDED):
                if task.token is not None:
                    self._background.start(f"report {task.id}", self._report(task))

    def follow(self, task: TaskId) -> None:
        """Follow a task that is on its node now; calling it again asks at once."""
        if task in self._hints:
            self._hints[task].set()
            return
        self._hints[task] = asyncio.Event()
        self._background.start(f"follow {task}", self._follow(task))

    hint = follow
    """Somebody saw or said that a task moved on: ask its node now instead of believing it (contract §12 D-08)."""

    async def _follow(self, task_id: TaskId) -> None:
        hint, course = self._hints[task_id], _Course()
        try:
            while True:
                await woken(hint, course.pause)
                hint.clear()
                try:
                    task = await self._store.tasks.get(task_id)
                    if task is not None and task.state is TaskState.ON_NODE:
                        await self._look(task, course)
                    elif not hint.is_set():  # nobody called `follow` again since we looked
                        return
                except Exception:  # a full disk, or a mistake of ours: the task must not be left alone
                    logger.exception("task=%s its news could not be kept; it is asked again", task_id)
                    course.pause = self._pace()
        finally:
            del self._hints[task_id]

    def _pace(self) -> float:
        return max(self._policy.interval, len(self._hints) / self._policy.most)

    async def _look(self, task: Task, course: _Course) -> None:
        if task.node is None or self._watch.silence(task.node) is not None:
            course.pause, course.denials = self._pace(), 0
            if task.node is not None:
                self._requeue(await self._failover.silent(task, task.node))
            return
        try:
            await self._ask(task, task.node, terse=course.terse)
        except NodeRefused as refusal:
            course.pause = self._pace()
            if self._believed(course):
                logger.warning("task=%s node=%s is not there any more: %s", task.id, task.node, refusal)
                self._requeue(await self._failover.forgotten(task, task.node))
                course.denials = 0
        except Unreachable:
            course.pause = min(max(self._policy.slowest, self._pace()), max(self._pace(), 2 * course.pause))
            course.denials, course.terse = 0, not course.terse
            self._watch.doubt(task.node)
        else:
            course.pause, course.denials, course.terse = self._pace(), 0, False

    def _requeue(self, queued: Task | None) -> None:
        if queued is not None:
            self.requeued(queued.id)

    def _believed(self, course: _Course) -> bool:
        """Count one more denial, but not on the heels of the last one: clients' hints make us ask at any rate."""
        now = asyncio.get_running_loop().time()
        if course.denials == 0 or now - course.denied >= self._policy.interval:
            course.denials += 1
            course.denied = now
        return course.denials >= self._policy.sure

    async def _ask(self, task: Task, node_id: NodeId, *, terse: bool) -> None:
        node = await self._store.nodes.get(node_id)
        if node is None:
            raise Unreachable("its node is not registered")
        task, report = await self._listener.hear(task, node, terse=terse)
        if report != task.report:
            await self._note(task, node, report)

    async def told(self, task: Task, report: TaskReport) -> None:
        """Its node told this to somebody who asked after `task` was read: keep it as if we had asked."""
        node = await self._store.nodes.get(task.node) if task.node else None
        if node is not None:
            await self._note(task, node, report)

    async def _note(self, task: Task, node: Node, report: TaskReport) -> None:
        """Keep a node's news of a task it runs; when they tell its end, everything follows that an end brings.

        Whoever changed the record since it was read, and so before or while the news were on their way, stays right.
        """
        if report.status is TaskStatus.FAILED and task.child:
            task = await self._listener.last_lines(task, node)  # before it is told to drop its copy
            queued = await self._failover.failed(task, node.id, report)
            if queued is not None:
                self._requeue(queued)
                return
        state = state_on_node(report.status)
        ended = self._clock() if state in ENDED else None
        news = replace(task, state=state, report=report, error=report.error, ended=ended)
        try:
            record = await self._store.tasks.save(news)
        except Stale:
            return
        if record.state in ENDED:
            await self._ended(record, node)

    async def canceled(self, task: TaskId, node: Node) -> None:
        """The node granted to cancel the task it ran: keep that, whatever it says next."""
        now = self._clock()
        record = await change(
            self._store.tasks,
            task,
            {TaskState.ON_NODE},
            lambda known: replace(known, state=TaskState.CANCELED, ended=now),
        )
        if record is not None:
            self._background.start(f"last word on {task}", self._last_word(record, node))

    async def _last_word(self, task: Task, node: Node) -> None:
        try:
            report = await self._client.report(node, task.id)
        except NodeTrouble:
            await self._ended(task, node)
            return
        told = await change(
            self._store.tasks, task.id, {TaskState.CANCELED}, lambda known: replace(known, report=report)
        )
        await self._ended(told or task, node)

    async def _ended(self, task: Task, node: Node) -> None:
        logger.info("task=%s node=%s ended: %s", task.id, node.id, task.state)
        if task.state is TaskState.FINISHED:
            self.finished(task, node.id)
        count_anew = self._watch.freshen([node.id], max_age=0.0, patience=self._policy.interval)
        self._background.start(f"refresh {node.id}", count_anew)
        self._background.start(f"last lines of {task.id}", self._listener.last_lines(task, node))
        if self._access.keeps_tokens:
            self._background.start(f"report {task.id}", self._report(task))
        await self._spool.discard(task.id)

    async def _report(self, task: Task) -> None:
        """Tell the access service that the task ended. Its token is kept until that was heard, also over a crash."""
        if task.report is None or not await self._access.finished(task.token, task.report.raw, None):
            return
        await change(self._store.tasks, task.id, ENDED, lambda known: replace(known, token=None))
