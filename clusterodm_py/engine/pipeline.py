"""Passes an upload on to a node while it arrives, so that after the client's commit only the node's is left to send.

Nothing here is a promise: the spool has every file, too, and serves wherever this did not work out. What a node was
given is noted in the task's record (`touched`) before it gets a byte, so that it is cleaned up whatever dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from clusterodm_py.core.errors import ClusterError, NodeTrouble, UnknownTask
from clusterodm_py.core.placement import Need, candidates
from clusterodm_py.core.types import Health, Node, NodeId, NodeView, OptionValue, Task, TaskId, TaskState
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.health import Watch
from clusterodm_py.engine.records import change
from clusterodm_py.engine.strays import Strays
from clusterodm_py.nodeodm.push import Parcel, Pusher
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Feed, Spool

logger = logging.getLogger(__name__)

_CANDIDATES: Final = 16

_LOOK: Final = 1.0
"""Seconds between two looks at the health of a node that is sent the rest of an upload."""


class Unfit(ClusterError):
    """The node cannot have the task any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePolicy:
    """How uploads are passed on."""

    tries: int = 3
    """Nodes tried, one after the other, while the upload goes on."""
    patience: float = 0.5
    """Seconds to wait for fresh views before choosing on older ones."""
    recheck: float = 10.0
    """Seconds between two looks for a free slot while the upload goes on."""
    idle: float = 120.0
    """Seconds without a new file after which an upload does not count as one that will want its slot soon."""


@dataclass(slots=True)
class Pipe:
    """One upload on its way to a node."""

    task: TaskId
    options: tuple[OptionValue, ...]
    node: Node | None = None
    """Where it goes at present."""
    feed: Feed | None = None
    closed: bool = False
    """The client committed: no further file comes."""
    active: float = 0.0
    """When the last file came."""
    job: asyncio.Task[None] | None = None
    delivered: bool = False
    """Everything has arrived there."""
    tried: set[NodeId] = field(default_factory=set)


class Pipelines:
    """At most one pipe per task, from its first file until it was claimed or dropped."""

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool,
        watch: Watch,
        pusher: Pusher,
        strays: Strays,
        background: Background,
        clock: Callable[[], float],
        policy: PipelinePolicy,
    ) -> None:
        self._store = store
        self._spool = spool
        self._watch = watch
        self._pusher = pusher
        self._strays = strays
        self._background = background
        self._clock = clock
        self._policy = policy
        self._pipes: dict[TaskId, Pipe] = {}

    def begin(self, task: TaskId, options: tuple[OptionValue, ...]) -> None:
        """Files of an uncommitted task arrive: pass them on, from now until its commit. Again: they still do."""
        pipe = self._pipes.get(task)
        if pipe is None:
            pipe = self._pipes[task] = Pipe(task, options)
            pipe.job = self._background.start(f"pipeline {task}", self._run(pipe))
        pipe.active = self._clock()

    def passes_on(self, task: TaskId) -> bool:
        """Whether `begin` was called for the task, with options that need not be worked out again."""
        return task in self._pipes

    async def commit(self, task: Task) -> None:
        """The upload is complete. What it was begun for must still hold, or it serves nobody."""
        pipe = self._pipes.get(task.id)
        if pipe is None:
            return
        if pipe.node is None or pipe.options != task.options:
            await self.drop(task.id)
            return
        pipe.closed = True
        if pipe.feed is not None:
            pipe.feed.close()

    def warm(self, task: TaskId) -> NodeId | None:
        """The node that has the files of a task, or gets them at this moment."""
        pipe = self._pipes.get(task)
        return pipe.node.id if pipe is not None and pipe.node is not None else None

    def promised(self) -> Mapping[NodeId, int]:
        """How many uploads are on their way to each node and will want a slot there soon."""
        since = self._clock() - self._policy.idle
        return Counter(
            pipe.node.id
            for pipe in self._pipes.values()
            if pipe.node is not None and (pipe.closed or pipe.active >= since)
        )

    async def claim(self, task: Task, node: Node) -> bool:
        """The task is bound to `node`: wait for the rest of its upload. False when the spool must serve."""
        pipe = self._pipes.get(task.id)
        if pipe is None:
            return False
        if pipe.node is None or pipe.node.id != node.id or pipe.job is None:
            await self.drop(task.id)
            return False
        try:
            while self._watch.health_of(node.id) is not Health.DOWN:
                done, _ = await asyncio.wait([pipe.job], timeout=_LOOK)
                if done:
                    return pipe.delivered
            return False
        finally:
            await self.drop(task.id)

    async def drop(self, task: TaskId) -> None:
        """Stop passing the upload on; nothing is sent any more when this returns.

        What the node got is for the caller to have cleaned.
        """
        pipe = self._pipes.pop(task, None)
        if pipe is not None and pipe.job is not None:
            pipe.job.cancel()
            await asyncio.wait([pipe.job])

    async def _run(self, pipe: Pipe) -> None:
        while len(pipe.tried) < self._policy.tries and not (pipe.closed and pipe.tried):
            view = await self._choose(pipe)
            if view is None:
                await self._watch.changed(self._policy.recheck)
                continue
            pipe.tried.add(view.node.id)
            try:
                await self._pass_on(pipe, view)
            except UnknownTask:  # removed meanwhile: nobody else knows what the node got since
                await self._strays.add(pipe.task, (view.node.id,))
                return
            except (NodeTrouble, Unfit) as trouble:
                logger.info(
                    "task=%s node=%s is not sent its upload any more: %s", pipe.task, view.node.id, trouble
                )
            else:
                pipe.delivered = True
                return
            finally:
                pipe.feed = None
                if not pipe.delivered:
                    pipe.node = None

    async def _choose(self, pipe: Pipe) -> NodeView | None:
        """The best node with a slot that nobody else hopes for."""
        files = len(await self._spool.files(pipe.task))
        need = Need(images=max(1, files), exclude=frozenset(pipe.tried))
        best = [view.node.id for view in candidates(await self._watch.views(), need)[:_CANDIDATES]]
        await self._watch.freshen(best, max_age=1.0, patience=self._policy.patience)
        fresh = [view for node in best if (view := await self._watch.view(node))]
        view = next(iter(candidates(fresh, need)), None)
        return view if view is not None and view.free > view.promised else None

    async def _pass_on(self, pipe: Pipe, view: NodeView) -> None:
        node = pipe.node = view.node
        self._watch.picked(node.id)
        dirty = await self._strays.claimed(pipe.task, node.id)
        before = await self._store.tasks.get(pipe.task)
        task = await self._touch(pipe.task, node.id)
        if dirty or before is None or node.id in before.touched:
            await self._pusher.wipe(node, task.id)
        await self._pusher.init(node, replace(task, options=pipe.options))
        logger.info("task=%s node=%s is sent the upload while it arrives", pipe.task, node.id)
        feed = pipe.feed = self._spool.feed(pipe.task)
        if pipe.closed:
            feed.close()
        async with aclosing(self._parcels(pipe, node, feed)) as parcels:
            await self._pusher.deliver(node, pipe.task, parcels)

    async def _touch(self, task: TaskId, node: NodeId) -> Task:
        """Note durably that `node` is about to get something of the task."""
        held = {TaskState.SPOOLING, TaskState.QUEUED}
        touched = await change(self._store.tasks, task, held, lambda record: _touching(record, node))
        if touched is None:
            raise UnknownTask("Invalid taskId: the task no longer exists.")
        return touched

    async def _parcels(self, pipe: Pipe, node: Node, feed: Feed) -> AsyncGenerator[Parcel, None]:
        count = 0
        async for file in feed:
            count += 1
            pipe.active = self._clock()
            await self._check(node, count)
            yield Parcel(file.name, file.path, file.size)

    async def _check(self, node: Node, files: int) -> None:
        """Raises Unfit when the node may not have a task of so many files."""
        view = await self._watch.view(node.id)
        if view is None or not candidates([view], Need(images=files)):
            raise Unfit("it went away, was locked, or takes fewer images")


def _touching(task: Task, node: NodeId) -> Task:
    return task if node in task.touched else replace(task, touched=(*task.touched, node))
