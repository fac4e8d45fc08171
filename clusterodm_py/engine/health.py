"""Watches the nodes: polls each on its own beat, keeps a view of each, and tells who waits when one changed.

A hanging node delays nobody: every node has its own loop, and a poll is bounded. Decides nothing about tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from clusterodm_py.core.errors import NodeTrouble
from clusterodm_py.core.lifecycle import HealthPolicy, node_health
from clusterodm_py.core.placement import next_turn
from clusterodm_py.core.types import Health, Node, NodeId, NodeView
from clusterodm_py.engine.background import Background
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.store.base import Store

logger = logging.getLogger(__name__)

SLOWEST_BEAT: Final = 30.0
"""Seconds between polls of a node that is down: it is not forgotten, but costs little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """How nodes are polled."""

    interval: float = 5.0
    """Seconds between two polls of a node."""
    health: HealthPolicy = field(default_factory=HealthPolicy)


class Watch:
    """The present view of every registered node.

    `start` begins polling; nodes added or removed in the store are picked up by `refresh` and `sync`.
    """

    def __init__(
        self,
        *,
        store: Store,
        client: NodeClient,
        background: Background,
        clock: Callable[[], float],
        policy: WatchPolicy,
    ) -> None:
        self._store = store
        self._client = client
        self._background = background
        self._clock = clock
        self._policy = policy
        self._views: dict[NodeId, NodeView] = {}
        self._loops: dict[NodeId, asyncio.Task[None]] = {}
        self._polls: dict[NodeId, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._missed_at: dict[NodeId, float] = {}
        self._began = clock()

    async def start(self) -> None:
        """Poll every node once, all at the same time and for a moment at most, and keep polling from then on."""
        await self.sync()
        await self.freshen(self._views, max_age=0.0, patience=1.0)

    async def sync(self) -> None:
        """Follow the store: loops for new nodes begin, those of removed nodes end."""
        nodes = {node.id: node for node in await self._store.nodes.all()}
        for gone in self._loops.keys() - nodes.keys():
            self._loops.pop(gone).cancel()
            self._views.pop(gone, None)
        for key, node in nodes.items():
            view = self._views.get(key)
            self._views[key] = replace(view, node=node) if view else NodeView(node=node)
            if key not in self._loops:
                self._loops[key] = self._background.start(f"poll {key}", self._beat(key))
        self._announce()

    async def views(self) -> tuple[NodeView, ...]:
        """One view per node, in list order, with the slots held at this moment."""
        held = await self._store.tasks.in_flight()
        nodes = await self._store.nodes.all()
        return tuple(
            replace(
                self._views.get(node.id) or NodeView(node=node), node=node, in_flight=held.get(node.id, 0)
            )
            for node in nodes
        )

    def picked(self, node: NodeId) -> None:
        """Note that `node` was chosen: equals take turns (contract §4.3)."""
        if view := self._views.get(node):
            self._views[node] = replace(view, turn=next_turn(tuple(self._views.values())))

    def health_of(self, node: NodeId) -> Health | None:
        """None when no such node is registered."""
        view = self._views.get(node)
        return view.health if view else None

    def was_away(self, node: NodeId, since: float) -> bool:
        """Whether the node may have been down at some moment after `since`; true where nobody was watching."""
        return since < self._began or self._missed_at.get(node, 0.0) >= since

    async def refresh(self, node: NodeId | None = None) -> bool:
        """Ask one node, or all, now; False when one of them did not answer."""
        if node is None or node not in self._loops:
            await self.sync()
        wanted = [node] if node is not None else list(self._views)
        await asyncio.gather(*(self._poll(key) for key in wanted if key in self._views))
        return all(self.health_of(key) is Health.UP for key in wanted)

    async def freshen(self, nodes: Iterable[NodeId], *, max_age: float, patience: float) -> None:
        """See to it that the views of `nodes` are at most `max_age` seconds old, waiting `patience` seconds at most."""
        oldest = self._clock() - max_age
        stale = [key for key in nodes if key in self._views and self._views[key].refreshed < oldest]
        polls = [self._joined_poll(key) for key in stale]
        if polls:
            await asyncio.wait(polls, timeout=patience)

    async def changed(self, seconds: float) -> None:
        """Return when a node's view changed, after `seconds` at the latest."""
        event = self._changed
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    def _joined_poll(self, node: NodeId) -> asyncio.Task[None]:
        poll = self._polls.get(node)
        if poll is None or poll.done():
            poll = self._polls[node] = self._background.start(f"freshen {node}", self._poll(node))
        return poll

    async def _beat(self, node: NodeId) -> None:
        while True:
            await self._poll(node)
            misses = self._views[node].misses if node in self._views else 0
            await asyncio.sleep(
                min(self._policy.interval * (1 + misses), max(SLOWEST_BEAT, self._policy.interval))
            )

    async def _poll(self, key: NodeId) -> None:
        began = self._clock()
        node = self._views[key].node
        try:
            info = await self._client.info(node)
        except NodeTrouble as trouble:
            self._missed(node, str(trouble))
            return
        view = self._views.get(key)
        if view is None or view.refreshed > began:  # removed, or a poll begun later was faster
            return
        if view.health is not Health.UP:
            logger.info("node=%s is online: %s %s", key, info.engine, info.version)
        health, misses = node_health(view.health, view.misses, True, self._policy.health)
        self._views[key] = replace(view, info=info, health=health, misses=misses, refreshed=began, error=None)
        self._announce()

    def _missed(self, node: Node, why: str) -> None:
        view = self._views.get(node.id)
        if view is None:
            return
        self._missed_at[node.id] = self._clock()
        health, misses = node_health(view.health, view.misses, False, self._policy.health)
        if health is not view.health:
            logger.warning("node=%s is %s: %s", node.id, health, why)
        self._views[node.id] = replace(view, health=health, misses=misses, error=why)
        self._announce()

    def _announce(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()
