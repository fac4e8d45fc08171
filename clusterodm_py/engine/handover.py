"""One task, one node: push the files, commit, and find out for certain whether the node took it.

A commit whose answer was lost is never guessed about: the node is asked until it tells (contract §12 D-06).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from clusterodm_py.core.errors import NodeRefused, NodeTrouble, Unreachable
from clusterodm_py.core.types import Node, Task, TaskState
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import Closed, Unclear
from clusterodm_py.nodeodm.push import Parcel, Pusher, each
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """The node has the task and will run it."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The node certainly does not run the task."""

    why: str
    counts: bool = True
    """Whether this was an attempt: a node that could not be reached at all had no chance to refuse."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """The node may run the task, but stayed silent for too long to wait for it."""

    why: str


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Files of the task are missing here: it is never run with less than its client sent."""


Outcome: TypeAlias = Taken | NotTaken | Unsure | Incomplete


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverPolicy:
    """Patience with a node whose answer to a commit is not known."""

    ask_again: float = 1.0
    """Seconds before the first repeated question; doubled each time, up to `ask_slowest`."""
    ask_slowest: float = 15.0
    give_up: float = 900.0
    """Seconds of silence after which another node gets the task, and this one is told to drop it when it is back."""
    confirm: int = 3
    """How often a node that was told to commit must say that it does not know the task before that is believed."""
    commits: int = 3
    """Commits sent, each denied afterwards, before the node is believed not to have the task."""


class Handover:
    """Pushes tasks that hold a slot (PUSHING) and brings them to a certain end with that node."""

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool,
        client: NodeClient,
        pusher: Pusher,
        clock: Callable[[], float],
        policy: HandoverPolicy,
    ) -> None:
        self._store = store
        self._spool = spool
        self._client = client
        self._pusher = pusher
        self._clock = clock
        self._policy = policy

    async def push(self, task: Task, node: Node, *, dirty: bool) -> Outcome:
        """Send everything and commit.

        `dirty`: the node may hold a part of an earlier push, which is wiped first, or even all of it, where an earlier
        commit of ours was heard after all.

        Raises Stale when the task was taken from us meanwhile.
        """
        begun = False
        parcels = await self._parcels(task)
        if len(parcels) < task.images:
            return Incomplete()
        try:
            if dirty:
                await self._pusher.wipe(node, task.id)
            await self._pusher.init(node, task)
            begun = True
            await self._pusher.deliver(node, task.id, each(parcels))
        except NodeTrouble as trouble:
            if dirty and not begun and await self._has(node, task):
                return Taken()
            silent = isinstance(trouble, Unreachable) and not isinstance(trouble, Unclear)
            return NotTaken(str(trouble), counts=begun or not silent)
        return await self.commit(task, node)

    async def commit(self, task: Task, node: Node) -> Outcome:
        """Everything is on the node: commit. Raises Stale when the task was taken from us meanwhile."""
        if await self._store.nodes.get(node.id) is None:
            return NotTaken("it was removed while the files were sent", counts=False)
        current = await self._store.tasks.get(task.id)
        if current is None or current.state is not TaskState.PUSHING:
            return NotTaken("the task was withdrawn")
        committing = replace(current, state=TaskState.COMMITTING)
        return await self.settle(await self._store.tasks.save(committing), node, asked=False)

    async def settle(self, task: Task, node: Node, *, asked: bool) -> Outcome:
        """Commit and learn the outcome. `asked`: a commit may have been sent already, so ask before sending another."""
        silent_since = self._clock()
        pause = self._policy.ask_again
        left = self._policy.commits
        while True:
            try:
                if asked and await self._confirmed(node, task):
                    return Taken()
                if left == 0:
                    return NotTaken("it does not answer the commit, and says that it has no such task")
                left -= 1
                return await self._commit(task, node, asked=asked)
            except Unreachable as error:
                if isinstance(error, Closed) and not asked:  # nothing listened, so no commit was ever heard
                    return NotTaken(str(error), counts=False)
                logger.warning("task=%s node=%s commit is in doubt: %s", task.id, node.id, error)
                known = await self._store.nodes.get(node.id)
                if known is None or self._clock() - silent_since > self._policy.give_up:
                    return Unsure(str(error))
            asked, node = True, known  # its token may have been changed
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._policy.ask_slowest)

    async def _commit(self, task: Task, node: Node, *, asked: bool) -> Outcome:
        """One commit with a certain outcome; raises Unreachable when it has none."""
        try:
            await self._pusher.commit(node, task.id)
        except NodeRefused as error:
            # Refused, since an earlier one was the good one, or since it cannot be.
            there = await self._confirmed(node, task) if asked else await self._knows(node, task)
            return Taken() if there else NotTaken(str(error))
        return Taken()

    async def _confirmed(self, node: Node, task: Task) -> bool:
        """Whether the node knows the task; a node still busy with an earlier commit is given a moment to."""
        for left in reversed(range(self._policy.confirm)):
            if await self._knows(node, task):
                return True
            if left:
                await asyncio.sleep(self._policy.ask_again)
        return False

    async def _knows(self, node: Node, task: Task) -> bool:
        """Whether the node knows the task. Raises Unreachable when it does not tell."""
        try:
            await self._client.report(node, task.id)
        except NodeRefused:
            return False
        return True

    async def _has(self, node: Node, task: Task) -> bool:
        """Whether the node says that it knows the task."""
        try:
            return await self._knows(node, task)
        except Unreachable:
            return False

    async def _parcels(self, task: Task) -> list[Parcel]:
        return [Parcel(file.name, file.path, file.size) for file in await self._spool.files(task.id)]
