"""Follows every task on a node to its end, whoever asks or does not ask, and keeps the node's last word on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clusterodm_py.auth.base import AccessService
from clusterodm_py.core.errors import NodeRefused, StoreTrouble, Unreachable
from clusterodm_py.core.lifecycle import state_on_node
from clusterodm_py.core.types import ENDED, Node, Task, TaskId, TaskReport, TaskState
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.records import change
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)

_FORGOTTEN: Final = "The processing node no longer knows this task: it was removed there."
_LOST: Final = (
    "The processing node lost this task when it was restarted, and its images are no longer kept here."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPolicy:
    """How tasks are followed."""

    interval: float = 5.0
    """Seconds between two questions about one task."""
    slowest: float = 60.0
    """The same, while its node does not answer."""
    sure: int = 2
    """How often in a row a node must say that it does not know a task before that is believed."""


class Tracker:
    """One follower per task on a node. `start` takes up what an earlier life left."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        spool: Spool,
        client: NodeClient,
        access: AccessService,
        background: Background,
        clock: Callable[[], float],
        policy: TrackPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._spool = spool
        self._client = client
        self._access = access
        self._background = background
        self._clock = clock
        self._policy = policy
        self._hints: dict[TaskId, asyncio.Event] = {}
        self.requeued: Callable[[TaskId], None] = lambda _: None
        """Called for a task that must be dispatched again; set by whoever owns the dispatcher."""

    async def start(self) -> None:
        for task in await self._store.tasks.in_states({TaskState.ON_NODE}):
            self.follow(task.id)

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
        hint = self._hints[task_id]
        pause, denials = 0.0, 0
        try:
            while True:
                await _either(hint, pause)
                hint.clear()
                task = await self._store.tasks.get(task_id)
                if task is None or task.state is not TaskState.ON_NODE:
                    return
                try:
                    await self._ask(task)
                    pause, denials = self._policy.interval, 0
                except Unreachable:
                    pause = min(self._policy.slowest, max(self._policy.interval, 2 * pause))
                except NodeRefused as refusal:
                    denials, pause = denials + 1, self._policy.interval
                    if denials >= self._policy.sure:
                        await self._gone(task, str(refusal))
                except StoreTrouble:
                    logger.exception("task=%s its news could not be kept", task_id)
                    pause = self._policy.interval
        finally:
            del self._hints[task_id]

    async def _ask(self, task: Task) -> None:
        node = await self._store.nodes.get(task.node) if task.node else None
        if node is None:
            raise Unreachable("its node is not registered")
        report = await self._client.report(node, task.id)
        if report != task.report:
            await self.note(task.id, node, report)

    async def note(self, task: TaskId, node: Node, report: TaskReport) -> None:
        """Keep a node's news of a task it holds; when they tell its end, everything follows that an end brings."""
        now = self._clock()
        state = state_on_node(report.status)
        record = await change(
            self._store.tasks,
            task,
            {TaskState.ON_NODE} | ENDED,
            lambda known: replace(
                known,
                state=state,
                report=report,
                error=report.error,
                ended=(known.ended or now) if state in ENDED else None,
            ),
        )
        if record is not None and state in ENDED:
            await self._ended(record, node)

    async def _ended(self, task: Task, node: Node) -> None:
        logger.info("task=%s node=%s ended: %s", task.id, node.id, task.state)
        await self._spool.discard(task.id)
        self._background.start(f"refresh {node.id}", self._watch.refresh(node.id))
        if self._access.keeps_tokens and task.report is not None:
            tell = self._access.finished(task.token, task.report.raw, None)
            self._background.start(f"report {task.id}", tell)

    async def _gone(self, task: Task, why: str) -> None:
        """The node answers, but not for this task: removed there by somebody, or lost in its own crash."""
        logger.warning("task=%s node=%s is not there any more: %s", task.id, task.node, why)
        if task.report is None and task.committed is None:
            await self._store.tasks.remove(task.id)  # a dead route, imported from ClusterODM (§12 D-41)
        elif not self._was_away(task):
            await self._fail(task, _FORGOTTEN)
        elif await self._spool.files(task.id):
            await self._again(task)
        else:
            await self._fail(task, _LOST)

    def _was_away(self, task: Task) -> bool:
        since = task.committed or task.created
        return task.node is not None and self._watch.was_away(task.node, since)

    async def _again(self, task: Task) -> None:
        queued = await change(
            self._store.tasks,
            task.id,
            {TaskState.ON_NODE},
            lambda known: replace(known, state=TaskState.QUEUED, node=None, report=None),
        )
        if queued is not None:
            self.requeued(task.id)

    async def _fail(self, task: Task, text: str) -> None:
        now = self._clock()
        await change(
            self._store.tasks,
            task.id,
            {TaskState.ON_NODE},
            lambda known: replace(
                known, state=TaskState.FAILED, node=None, ended=now, error=text, lines=(*known.lines, text)
            ),
        )
        await self._spool.discard(task.id)


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
