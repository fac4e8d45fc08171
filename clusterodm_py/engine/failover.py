"""Takes tasks from nodes that are gone, lost them or failed them, so that they start again elsewhere, and only there.

What to do is decided by `core.failover`; the order of the steps is here: the copy that is given up is noted as a stray
before the task can be bound to another node, so no crash in between leaves two of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from clusterodm_py.core.failover import (
    Drop,
    Fail,
    FailoverPolicy,
    Forgotten,
    Move,
    Silence,
    Trouble,
    Verdict,
    Wait,
    decide,
    retry,
)
from clusterodm_py.core.placement import Need, candidates
from clusterodm_py.core.types import NodeId, Task, TaskReport, TaskState
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)

_LAST_CHANCE: Final = 15.0
"""Seconds that a silent node is given for one more question before its tasks are taken from it: it may be back, and so
may we, whose own network was down."""


class Failover:
    """Every verb takes a task ON_NODE as it was read, and returns its record once it is QUEUED for another node.

    None: it stays where it is, or has ended, or somebody else changed its record meanwhile.
    """

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        spool: Spool,
        strays: Strays,
        transcript: Transcript,
        clock: Callable[[], float],
        policy: FailoverPolicy,
    ) -> None:
        self._store = store
        self._watch = watch
        self._spool = spool
        self._strays = strays
        self._transcript = transcript
        self._clock = clock
        self._policy = policy

    async def silent(self, task: Task, node: NodeId) -> Task | None:
        """The node is down."""
        silence = self._watch.silence(node)
        if silence is None or isinstance(await self._verdict(task, silence), Wait):
            return None
        await self._watch.freshen([node], max_age=0.0, patience=_LAST_CHANCE)
        silence = self._watch.silence(node)
        return None if silence is None else await self._settle(task, node, silence)

    async def forgotten(self, task: Task, node: NodeId) -> Task | None:
        """The node answers, and certainly does not know the task: removed there by somebody, or lost in its crash."""
        since = task.committed or task.created
        return await self._settle(task, node, Forgotten(away=self._watch.was_away(node, since)))

    async def failed(self, task: Task, node: NodeId, report: TaskReport) -> Task | None:
        """The node's engine failed the task. None: that is its end."""
        if not task.child:
            return None
        avoid = (*task.avoid, node)
        again = retry(
            task,
            report.error,
            self._policy,
            images=await self._has_images(task),
            elsewhere=await self._elsewhere(task, frozenset(avoid)),
        )
        if again is None:
            return None
        return await self._move(replace(task, retries=task.retries + 1, avoid=avoid), node, again.reason)

    async def _verdict(self, task: Task, trouble: Trouble) -> Verdict:
        overdue = isinstance(trouble, Silence) and trouble.seconds > self._policy.patience(trouble)
        return decide(
            task,
            trouble,
            self._policy,
            images=await self._has_images(task),
            elsewhere=overdue and await self._elsewhere(task),
        )

    async def _settle(self, task: Task, node: NodeId, trouble: Trouble) -> Task | None:
        match await self._verdict(task, trouble):
            case Move(reason=reason):
                return await self._move(replace(task, moves=task.moves + 1), node, reason)
            case Fail(text=text):
                await self._fail(task, node, text)
            case Drop():
                await self._store.tasks.remove(task.id)
                await self._transcript.discard(task.id)
            case Wait():
                pass
        return None

    async def _move(self, task: Task, node: NodeId, reason: str) -> Task | None:
        queued = replace(task, state=TaskState.QUEUED, node=None, report=None, waiting=False, attempts=0)
        record = await self._leave(queued, node, reason)
        if record is not None:
            self._spool.assign(task.id, task.owner)
            logger.warning("task=%s node=%s queued for another node: %s", task.id, node, reason)
        return record

    async def _fail(self, task: Task, node: NodeId, text: str) -> None:
        failed = replace(task, state=TaskState.FAILED, node=None, ended=self._clock(), error=text)
        if await self._leave(failed, node, text) is not None:
            logger.warning("task=%s node=%s failed: %s", task.id, node, text)
            await self._spool.discard(task.id)

    async def _leave(self, task: Task, node: NodeId, line: str) -> Task | None:
        """Save `task`, which does not name `node` any more; what that has of it is to be dropped.

        Noted before it is true, lest a crash in between lets two copies live: while the record names the node, its
        copy is left alone (`strays`).
        """
        await self._store.strays.add(task.id, node)
        record = await self._transcript.sealed(task, line)
        if record is not None:
            await self._strays.add(task.id, (node,))  # told at once, if it listens
        return record

    async def _has_images(self, task: Task) -> bool:
        return bool(await self._spool.files(task.id))

    async def _elsewhere(self, task: Task, exclude: frozenset[NodeId] = frozenset()) -> bool:
        """Whether a node outside `exclude` could take the task now, be it that it must wait for a slot there."""
        return bool(candidates(await self._watch.views(), Need(images=task.images, exclude=exclude)))
