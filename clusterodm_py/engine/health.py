"""Watches the nodes: polls each on its own beat, keeps a view of each, and tells who waits when one changed.

A hanging node delays nobody: every node has its own loop, and a poll is bounded. Decides nothing about tasks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from clusterodm_py.core.errors import NodeRefused, NodeTrouble
from clusterodm_py.core.failover import Silence
from clusterodm_py.core.lifecycle import HealthPolicy, node_health
from clusterodm_py.core.types import Health, Node, NodeId, NodeInfo, NodeView
from clusterodm_py.engine.background import Background, woken
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import Closed
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


@dataclass(slots=True)
class _Watched:
    """One node as it is watched. All times but `since` and `away` are the loop's, which nobody can set back."""

    view: NodeView
    since: float
    """Unix time from which on we know whether it was away."""
    spoke: float
    """When a node last answered there, be it with a refusal; at first, when it began to be watched."""
    away: float = 0.0
    """Unix time at which it last did not answer."""
    heard: float = -math.inf
    """When the last question that was answered had been asked."""
    closed: bool = False
    """At the last question without an answer, its machine said that nothing listens there."""
    missed: float = -math.inf
    """When a question was last found to stay without an answer."""
    counted: float = -math.inf
    """When such a question last counted as a missed poll."""
    beat: asyncio.Task[None] | None = None
    poll: asyncio.Task[None] | None = None

    @property
    def asked(self) -> float:
        """How old what we know of it is."""
        return max(self.heard, self.missed)


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
        self._watched: dict[NodeId, _Watched] = {}
        self._left: dict[NodeId, float] = {}
        """When nodes that are not registered any more were removed."""
        self._began = math.inf
        self._turn = 0
        self._improved = asyncio.Event()
        self.improved: Callable[[], None] = lambda: None
        """Called when a node may take tasks that it did not take before; set by whoever gives them out."""
        self.returned: Callable[[], None] = lambda: None
        """Called when a node answers that did not before; set by whoever has something to tell it."""
        self.promised: Callable[[], Mapping[NodeId, int]] = dict
        """Uploads on their way to nodes; set by whoever passes them on."""
        self.pace: Callable[[NodeId], float | None] = lambda _: None
        """Seconds per image of a node; set by whoever learns them."""

    async def start(self) -> None:
        """Poll every node once, all at the same time and for a moment at most, and keep polling from then on."""
        await self.sync()
        await self.freshen(self._watched, max_age=0.0, patience=1.0)

    async def sync(self) -> None:
        """Follow the store: loops for new nodes begin, those of removed nodes end."""
        nodes = {node.id: node for node in await self._store.nodes.all()}
        self._began = min(self._began, _now())
        for gone in self._watched.keys() - nodes.keys():
            self._left[gone] = _now()
            if beat := self._watched.pop(gone).beat:
                beat.cancel()
        for key, node in nodes.items():
            if watched := self._watched.get(key):
                watched.view = replace(watched.view, node=node)
            else:
                fresh = self._watched[key] = _Watched(NodeView(node=node), self._clock(), _now())
                fresh.beat = self._background.start(f"poll {key}", self._beat(fresh))
        self._announce()

    async def views(self) -> tuple[NodeView, ...]:
        """One view per node, in list order, with the slots held at this moment."""
        return tuple(await self._seen())

    async def first(self, fits: Callable[[NodeView], bool]) -> NodeView | None:
        """The first node in list order that `fits`. Looks no further: of a thousand nodes, mostly at one."""
        return next((view for view in await self._seen() if fits(view)), None)

    async def _seen(self) -> Iterator[NodeView]:
        held, promised = await self._store.tasks.in_flight(), self.promised()
        return (self._view(node.id, node, held, promised) for node in await self._store.nodes.all())

    async def view(self, node: NodeId) -> NodeView | None:
        """The view of one node; None when no such node is registered."""
        known = await self._store.nodes.get(node)
        held = await self._store.tasks.in_flight()
        return None if known is None else self._view(node, known, held, self.promised())

    def picked(self, node: NodeId) -> None:
        """Note that `node` was chosen: equals take turns (contract §4.3)."""
        self._turn += 1
        if watched := self._watched.get(node):
            watched.view = replace(watched.view, turn=self._turn)

    def health_of(self, node: NodeId) -> Health | None:
        """None when no such node is registered."""
        return watched.view.health if (watched := self._watched.get(node)) else None

    def silence(self, node: NodeId) -> Silence | None:
        """How long questions to a node that is down have stayed without an answer; None while it can be asked.

        One that is not registered is silent since it was removed, or, where that was in an earlier life, since the
        beginning of this one. A node that answers, but refuses us, is not silent.
        """
        watched = self._watched.get(node)
        if watched is None:
            return Silence(_now() - self._left.get(node, self._began))
        silence = Silence(max(0.0, watched.missed - watched.spoke), refused=watched.closed)
        return silence if watched.view.health is Health.DOWN else None

    def was_away(self, node: NodeId, since: float) -> bool:
        """Whether the node may have been down at some moment after `since`; true where nobody was watching."""
        watched = self._watched.get(node)
        return watched is None or since < watched.since or watched.away >= since

    def doubt(self, node: NodeId) -> None:
        """Somebody else's question to the node stayed without an answer: it may be away for less than our beat."""
        if watched := self._watched.get(node):
            watched.away = self._clock()

    async def refresh(self, node: NodeId | None = None) -> bool:
        """Ask one node, or all, now; False when one of them did not answer."""
        if node is None or node not in self._watched:
            await self.sync()
        wanted = [node] if node is not None else list(self._watched)
        await asyncio.gather(*(self._poll(self._watched[key]) for key in wanted if key in self._watched))
        return all(self.health_of(key) is Health.UP for key in wanted)

    async def freshen(self, nodes: Iterable[NodeId], *, max_age: float, patience: float) -> None:
        """See to it that `nodes` were asked within the last `max_age` seconds, waiting `patience` seconds at most."""
        now = _now()
        wanted = [watched for key in nodes if (watched := self._watched.get(key))]
        for _ in range(2):  # what is asked already may be too old when its answer comes
            polls = [self._joined_poll(watched) for watched in wanted if watched.asked < now - max_age]
            if polls:
                await asyncio.wait(polls, timeout=max(0.0, now + patience - _now()))

    async def changed(self, seconds: float) -> None:
        """Return when a node that took no tasks may do so now, after `seconds` at the latest."""
        await woken(self._improved, seconds)

    def _view(
        self, key: NodeId, node: Node, held: Mapping[NodeId, int], promised: Mapping[NodeId, int]
    ) -> NodeView:
        """Copied only where it must be: with 1,000 nodes this is called a thousand times per question."""
        watched, in_flight, hopes, pace = (
            self._watched.get(key),
            held.get(key, 0),
            promised.get(key, 0),
            self.pace(key),
        )
        view = watched.view if watched else NodeView(node=node)
        if view.node is node and (view.in_flight, view.promised, view.pace) == (in_flight, hopes, pace):
            return view
        return replace(view, node=node, in_flight=in_flight, promised=hopes, pace=pace)

    def _joined_poll(self, watched: _Watched) -> asyncio.Task[None]:
        if watched.poll is None or watched.poll.done():
            watched.poll = self._background.start(f"freshen {watched.view.node.id}", self._poll(watched))
        return watched.poll

    async def _beat(self, watched: _Watched) -> None:
        await self._poll(watched)
        # Each node at its own moment of the interval: a thousand answers at once would hold up everything else.
        await asyncio.sleep(self._policy.interval * (crc32(watched.view.node.id.encode()) / 2**32))
        while True:
            await self._poll(watched)
            slow = self._policy.interval * (1 + watched.view.misses)
            await asyncio.sleep(min(slow, max(SLOWEST_BEAT, self._policy.interval)))

    async def _poll(self, watched: _Watched) -> None:
        asked, began, node = _now(), self._clock(), watched.view.node
        try:
            info = await self._client.info(node)
        except NodeTrouble as trouble:
            self._missed(watched, asked, trouble)
        except Exception:  # a mistake of ours must not end the watch
            logger.exception("node=%s could not be asked", node.id)
            self._missed(watched, asked, NodeRefused("could not be asked"))
        else:
            self._answered(watched, asked, began, info)

    def _answered(self, watched: _Watched, asked: float, began: float, info: NodeInfo) -> None:
        if asked < watched.heard:  # a question asked later was faster
            return
        view = watched.view
        better = view.health is not Health.UP or view.info is None or _better(info, view.info)
        if view.health is not Health.UP:
            logger.info("node=%s is online: %s %s", view.node.id, info.engine, info.version)
            self.returned()
        health, misses = node_health(view.health, view.misses, True, self._policy.health)
        watched.view = replace(view, info=info, health=health, misses=misses, refreshed=began, error=None)
        watched.heard, watched.spoke, watched.counted = asked, _now(), -math.inf
        if better:
            self._announce()

    def _missed(self, watched: _Watched, asked: float, why: NodeTrouble) -> None:
        if asked < watched.heard:
            return
        now = watched.missed = _now()
        watched.away, watched.closed = self._clock(), isinstance(why, Closed)
        watched.spoke = now if isinstance(why, NodeRefused) else watched.spoke
        watched.view = replace(watched.view, error=str(why))
        if (
            now - watched.counted < self._policy.interval / 2
        ):  # asked for a placement in between: still the same gap
            return
        watched.counted = now
        view = watched.view
        health, misses = node_health(view.health, view.misses, False, self._policy.health)
        if health is not view.health:
            logger.warning("node=%s is %s: %s", view.node.id, health, why)
        watched.view = replace(view, health=health, misses=misses)

    def _announce(self) -> None:
        event, self._improved = self._improved, asyncio.Event()
        event.set()
        self.improved()


def _better(new: NodeInfo, old: NodeInfo) -> bool:
    """Whether a node may take a task that it did not take before: another limit, or more room."""
    return new.max_images != old.max_images or _room(new) > _room(old)


def _room(info: NodeInfo) -> int:
    return (info.max_parallel_tasks or 0) - (info.task_queue_count or 0)


def _now() -> float:
    return asyncio.get_running_loop().time()
