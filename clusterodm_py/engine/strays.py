"""Tells nodes to drop the copies nobody wants: of canceled, removed and re-dispatched tasks.

Never touches the copy that counts: the one on the node that the task's record names.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from clusterodm_py.core.errors import NodeRefused, NodeTrouble
from clusterodm_py.core.types import Node, NodeId, TaskId
from clusterodm_py.engine.background import woken
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import granted
from clusterodm_py.nodeodm.push import Pusher
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 30.0

_AT_ONCE: Final = 16
"""Nodes told at the same time."""


class Strays:
    """Works off the store's list of strays: at once when one is added, and again while a node is away."""

    def __init__(self, store: Store, client: NodeClient, pusher: Pusher) -> None:
        self._store = store
        self._client = client
        self._pusher = pusher
        self._wake = asyncio.Event()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._telling: dict[tuple[TaskId, NodeId], asyncio.Event] = {}

    def wake(self) -> None:
        """A node is back: look at once whether it is to be told something."""
        self._wake.set()

    async def add(self, task: TaskId, nodes: tuple[NodeId, ...]) -> None:
        """Have `nodes` drop what they hold of `task`; remembered until each has been told.

        While the task's record names one of them, that one is left alone.
        """
        for node in nodes:
            await self._store.strays.add(task, node)
        if nodes:
            self._wake.set()

    async def kept(self, task: TaskId, node: NodeId) -> None:
        """The copy that `node` has is the one that counts now."""
        await self._store.strays.remove(task, node)

    async def claimed(self, task: TaskId, node: NodeId) -> bool:
        """What `node` holds of `task` is the caller's to clean from now on; whether it was to be told to drop it."""
        await self.quiet(task, node)
        noted = (task, node) in await self._store.strays.all()
        await self._store.strays.remove(task, node)
        return noted

    async def quiet(self, task: TaskId, node: NodeId) -> None:
        """Return when `node` is not being told to drop `task`; once its record names the node, it will not be."""
        while told := self._telling.get((task, node)):
            await told.wait()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self._sweep()
            except Exception:
                logger.exception("sweeping strays failed; it is tried again")
            await woken(self._wake, SWEEP_SECONDS)
            self._wake.clear()

    async def _sweep(self) -> None:
        by_node: defaultdict[NodeId, list[TaskId]] = defaultdict(list)
        for task, node in await self._store.strays.all():
            by_node[node].append(task)
        visits = (self._visit(node, tasks) for node, tasks in by_node.items())
        for outcome in await asyncio.gather(*visits, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.error("sweeping the strays of a node failed; it is tried again", exc_info=outcome)

    async def _visit(self, node_id: NodeId, tasks: Sequence[TaskId]) -> None:
        """Work off one node's strays, until it turns out to be away."""
        async with self._gate:
            for task in tasks:
                node = await self._store.nodes.get(node_id)
                if node is None:
                    await self._store.strays.remove(task, node_id)
                    continue
                try:
                    await self._rid(node, task)
                except NodeTrouble as trouble:
                    logger.debug("task=%s node=%s cannot be told yet: %s", task, node_id, trouble)
                    return

    async def _rid(self, node: Node, task: TaskId) -> None:
        told = self._telling[task, node.id] = asyncio.Event()
        try:
            if await self._wanted_there(task, node.id):
                return
            await self._tell(node, task)
            await self._store.strays.remove(task, node.id)
        finally:
            del self._telling[task, node.id]
            told.set()
        logger.info("task=%s node=%s dropped its copy", task, node.id)

    async def _wanted_there(self, task: TaskId, node: NodeId) -> bool:
        """Whether the task was bound to that very node again, be it that it ended there: its results are there."""
        record = await self._store.tasks.get(task)
        return record is not None and record.node == node

    async def _tell(self, node: Node, task: TaskId) -> None:
        try:
            granted(await self._client.act(node, "remove", task))
        except NodeRefused:  # no such task there: perhaps an upload that was never committed
            await self._client.admitted(node)
            await self._pusher.wipe(node, task)
