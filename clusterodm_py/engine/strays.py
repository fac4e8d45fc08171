"""Tells nodes to drop the copies nobody wants: of canceled, removed and re-dispatched tasks."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from clusterodm_py.core.errors import ClusterError, NodeRefused, NodeTrouble
from clusterodm_py.core.types import IN_FLIGHT, Node, NodeId, TaskId, TaskState
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import granted
from clusterodm_py.nodeodm.push import Pusher
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 30.0


class Strays:
    """Works off the store's list of strays: at once when one is added, and again while a node is away."""

    def __init__(self, store: Store, client: NodeClient, pusher: Pusher) -> None:
        self._store = store
        self._client = client
        self._pusher = pusher
        self._wake = asyncio.Event()

    async def add(self, task: TaskId, nodes: tuple[NodeId, ...]) -> None:
        """Have `nodes` drop what they hold of `task`; remembered until each has been told."""
        for node in nodes:
            await self._store.strays.add(task, node)
        self._wake.set()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self._sweep()
            except ClusterError:
                logger.exception("sweeping strays failed; it is tried again")
            try:
                await asyncio.wait_for(self._wake.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def _sweep(self) -> None:
        for task, node_id in await self._store.strays.all():
            node = await self._store.nodes.get(node_id)
            if node is None or await self._wanted_there(task, node_id):
                await self._store.strays.remove(task, node_id)
            elif await self._told(node, task):
                logger.info("task=%s node=%s dropped its copy", task, node_id)
                await self._store.strays.remove(task, node_id)

    async def _wanted_there(self, task: TaskId, node: NodeId) -> bool:
        """Whether the task was bound to that very node again: then its copy is the one that counts."""
        record = await self._store.tasks.get(task)
        return record is not None and record.node == node and record.state in IN_FLIGHT | {TaskState.ON_NODE}

    async def _told(self, node: Node, task: TaskId) -> bool:
        try:
            granted(await self._client.act(node, "remove", task))
        except NodeRefused:  # no such task there: perhaps an upload that was never committed
            return await self._wiped(node, task)
        except NodeTrouble:
            return False
        return True

    async def _wiped(self, node: Node, task: TaskId) -> bool:
        try:
            await self._pusher.wipe(node, task)
        except NodeTrouble:
            return False
        return True
