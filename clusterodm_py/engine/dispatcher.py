"""Brings every committed task to a node: one worker per task, from its commit until a node runs it.

Decides nothing about who is best (`core.placement`) or whether a node took a task (`handover`): it keeps the order of
events, and after a crash it takes every task up where its record says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from clusterodm_py.core.errors import Stale
from clusterodm_py.core.placement import Need, Refuse, Use, candidates, place, reasons
from clusterodm_py.core.types import IN_FLIGHT, Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.handover import Handover, NotTaken, Outcome, Taken, Unsure
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.records import change
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 1.0
"""Views of the nodes under consideration are at most this old when one of them is chosen."""

ASKED_AT_ONCE: Final = 16
"""How many of the best nodes are asked anew: a placement costs the same with 3 nodes and with 1,000."""

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
    recheck: float = 5.0
    """Seconds between two looks for a node when none is eligible and nothing changes."""
    quiet: float = 2.0
    """Seconds a push may last before its task's output says what it waits for."""


class Dispatcher:
    """Owns the workers. `start` takes up what an earlier life left; `submit` starts one for a new commit."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        handover: Handover,
        tracker: Tracker,
        background: Background,
        clock: Callable[[], float],
        policy: DispatchPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._handover = handover
        self._tracker = tracker
        self._background = background
        self._clock = clock
        self._policy = policy
        self._workers: dict[TaskId, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for task in await self._store.tasks.in_states({TaskState.QUEUED} | IN_FLIGHT):
            self.submit(task.id)

    def submit(self, task: TaskId) -> None:
        """See the committed task to a node; calling it again changes nothing."""
        if task not in self._workers:
            worker = self._background.start(f"dispatch {task}", self._carry(task))
            self._workers[task] = worker
            worker.add_done_callback(lambda _: self._workers.pop(task, None))

    async def halt(self, task: TaskId) -> None:
        """Stop working on a task and return when nothing is sent any more; its record stays as it was."""
        if worker := self._workers.get(task):
            worker.cancel()
            await asyncio.wait([worker])

    async def _carry(self, task_id: TaskId) -> None:
        tried: set[NodeId] = set()
        while (task := await self._store.tasks.get(task_id)) is not None:
            try:
                match task.state:
                    case TaskState.QUEUED:
                        await self._dispatch(task, tried)
                    case TaskState.PUSHING:  # ours died in the middle: nothing runs yet, so begin again
                        await self._store.tasks.save(replace(task, state=TaskState.QUEUED, node=None))
                    case TaskState.COMMITTING:
                        await self._resume_commit(task, tried)
                    case _:
                        return
            except Stale:
                continue
            except Exception:  # a full disk, or a mistake of ours: the task must not be left lying
                logger.exception("task=%s dispatch stumbled and is taken up again", task_id)
                await asyncio.sleep(self._policy.recheck)

    async def _dispatch(self, task: Task, tried: set[NodeId]) -> None:
        bound = await self._bind(task, frozenset(tried))
        if bound is None and tried:
            tried.clear()
            await asyncio.sleep(self._policy.pause * task.attempts)
            return
        if bound is None:
            await self._say(task.id, _WAITING)
            await self._watch.changed(self._policy.recheck)
            return
        reserved, node = bound
        notice = self._background.start(f"notice {task.id}", self._notice(task.id))
        try:
            outcome = await self._handover.push(reserved, node, dirty=node.id in task.touched)
        finally:
            notice.cancel()
        await self._conclude(task.id, node, outcome, tried)

    async def _resume_commit(self, task: Task, tried: set[NodeId]) -> None:
        node = await self._store.nodes.get(task.node) if task.node else None
        if node is None:
            await self._requeue(task.id, task.node, "its node was removed while it was being committed")
        else:
            outcome = await self._handover.settle(task, node, asked=True)
            await self._conclude(task.id, node, outcome, tried)

    async def _bind(self, task: Task, tried: frozenset[NodeId]) -> tuple[Task, Node] | None:
        """Choose a node on fresh views and hold its slot; None when none is eligible."""
        need = Need(images=task.images, exclude=tried)
        while True:
            best = candidates(await self._watch.views(), need)[:ASKED_AT_ONCE]
            await self._watch.freshen(
                [view.node.id for view in best], max_age=FRESH_SECONDS, patience=self._policy.patience
            )
            match place(await self._watch.views(), need):
                case Refuse():
                    return None
                case Use(view=view, whys=whys):
                    room = view.free + view.in_flight if view.free else None
                    chosen = replace(task, reasons=reasons(whys))
                    reserved = await self._store.tasks.reserve(chosen, view.node.id, slots=room)
                    if reserved is not None:
                        self._watch.picked(view.node.id)
                        logger.info(
                            "task=%s node=%s placed: %s", task.id, view.node.id, "; ".join(chosen.reasons[:1])
                        )
                        return reserved, view.node

    async def _conclude(self, task: TaskId, node: Node, outcome: Outcome, tried: set[NodeId]) -> None:
        match outcome:
            case Taken():
                await self._taken(task, node)
            case NotTaken(why=why):
                tried.add(node.id)
                await self._not_taken(task, node, why)
            case Unsure(why=why):
                tried.add(node.id)
                await self._requeue(task, node.id, why)

    async def _taken(self, task: TaskId, node: Node) -> None:
        # The slot stays held until the node's own count shows the task, so nobody sees it free in between.
        await self._watch.freshen([node.id], max_age=0.0, patience=2 * self._policy.patience)
        now = self._clock()
        await change(
            self._store.tasks,
            task,
            IN_FLIGHT,
            lambda record: replace(record, state=TaskState.ON_NODE, node=node.id, accessed=now),
        )
        logger.info("task=%s node=%s running", task, node.id)
        self._tracker.follow(task)

    async def _not_taken(self, task: TaskId, node: Node, why: str) -> None:
        logger.warning("task=%s node=%s not taken: %s", task, node.id, why)
        record = await self._store.tasks.get(task)
        if record is not None and record.attempts >= self._policy.attempts:
            await self._fail(record, why)
        else:
            await change(
                self._store.tasks,
                task,
                IN_FLIGHT,
                lambda record: replace(record, state=TaskState.QUEUED, node=None),
            )

    async def _requeue(self, task: TaskId, node: NodeId | None, why: str) -> None:
        """Give the task to another node although this one may have it: it is told to drop it when it is back."""
        logger.warning("task=%s node=%s given up: %s", task, node, why)
        if node is not None:
            await self._store.strays.add(task, node)
        await change(
            self._store.tasks,
            task,
            IN_FLIGHT,
            lambda record: replace(record, state=TaskState.QUEUED, node=None),
        )

    async def _fail(self, task: Task, why: str) -> None:
        text = f"No processing node took the task after {task.attempts} attempts. The last one said: {why}"
        now = self._clock()
        await change(
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

    async def _notice(self, task: TaskId) -> None:
        await asyncio.sleep(self._policy.quiet)
        await self._say(task, _SENDING)

    async def _say(self, task: TaskId, line: str) -> None:
        """Add an output line, once, and never a third: with 3 lines ODM would count the task as running (§11.2)."""
        await change(
            self._store.tasks,
            task,
            {TaskState.QUEUED, TaskState.PUSHING},
            lambda record: (
                record
                if line in record.lines or len(record.lines) >= 2
                else replace(record, lines=(*record.lines, line))
            ),
        )
