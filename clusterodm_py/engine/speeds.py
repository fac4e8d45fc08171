"""Remembers how fast nodes are, from the tasks that they finished; kept in the store's notes over restarts."""

from __future__ import annotations

import logging
from typing import Final

from clusterodm_py.core import speeds
from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.options import is_parent
from clusterodm_py.core.types import NodeId, Task
from clusterodm_py.engine.background import Background
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

_NOTE: Final = "speeds"


class Speeds:
    """What is known of each node. `start` reads what an earlier life learned."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background
        self._known: dict[NodeId, speeds.Speed] = {}
        self._saving = False

    async def start(self) -> None:
        self._known = speeds.from_text(await self._store.notes.get(_NOTE))

    def pace(self, node: NodeId) -> float | None:
        """Seconds per image; None while too little is known."""
        return speeds.pace(self._known.get(node))

    def finished(self, task: Task, node: NodeId) -> None:
        """`node` finished `task`: learn from it."""
        if is_parent(task.options):  # it mostly waits for its children, wherever they run
            return
        seconds = task.report.processing_time / 1000 if task.report else 0.0
        learned = speeds.learn(self._known.get(node), task.images, seconds)
        if learned is None:
            return
        self._known[node] = learned
        if not self._saving:  # what is learned meanwhile is saved along
            self._saving = True
            self._background.start("save speeds", self._save())

    async def _save(self) -> None:
        self._saving = False
        nodes = {node.id for node in await self._store.nodes.all()}
        self._known = {node: speed for node, speed in self._known.items() if node in nodes}
        try:
            await self._store.notes.put(_NOTE, speeds.to_text(self._known))
        except StoreTrouble as trouble:
            logger.warning("the speeds of nodes could not be kept: %s", trouble)
