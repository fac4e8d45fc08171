"""Chooses a node for a task on fresh views, and holds a slot of it before anybody else can (contract §4.3).

Decides nothing about who is best: that is `core.placement`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from clusterodm_py.core.placement import Need, Refuse, Use, candidates, place, reasons
from clusterodm_py.core.types import Node, NodeId, Task
from clusterodm_py.engine.health import Watch
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 1.0
"""Views of the nodes under consideration are at most this old when one of them is chosen."""

ASKED_AT_ONCE: Final = 16
"""How many of the best nodes are asked anew: a placement costs the same with 3 nodes and with 1,000."""


class Binder:
    """Binds tasks to nodes, in the order in which they came."""

    def __init__(self, store: Store, watch: Watch, patience: float) -> None:
        self._store = store
        self._watch = watch
        self._patience = patience
        """Seconds to wait for fresh views before deciding on older ones."""
        self._line = asyncio.Lock()
        """One task decides at a time: thousands may wait for the same node, and all would wake at the same moment."""

    async def bind(self, task: Task, tried: AbstractSet[NodeId]) -> tuple[Task, Node] | None:
        """The task as it holds a slot of the best node that was not `tried`; None when none is eligible.

        Raises Stale when the task is not what the caller thinks.
        """
        need = Need(images=task.images, exclude=frozenset(tried))
        async with self._line:
            best = candidates(await self._watch.views(), need)[:ASKED_AT_ONCE]
        if not best:
            return None
        await self._watch.freshen(
            [view.node.id for view in best], max_age=FRESH_SECONDS, patience=self._patience
        )
        async with self._line:
            return await self._choose(task, need)

    async def _choose(self, task: Task, need: Need) -> tuple[Task, Node] | None:
        while True:
            match place(await self._watch.views(), need):
                case Refuse():
                    return None
                case Use(view=view, whys=whys):
                    room = view.free + view.in_flight if view.free else None
                    chosen = replace(task, reasons=reasons(whys))
                    reserved = await self._store.tasks.reserve(chosen, view.node.id, slots=room)
                    if reserved is not None:
                        self._watch.picked(view.node.id)
                        logger.info("task=%s node=%s placed: %s", task.id, view.node.id, chosen.reasons[0])
                        return reserved, view.node
            await asyncio.sleep(0)
