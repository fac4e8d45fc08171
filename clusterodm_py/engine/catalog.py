"""The options a cluster offers: those of its reference node, asked once and kept for a while (contract §1.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.errors import NodeTrouble, Refused
from clusterodm_py.core.placement import online
from clusterodm_py.core.types import NodeId, NodeView, OptionSpec
from clusterodm_py.engine.health import Watch
from clusterodm_py.nodeodm.client import NodeClient

KEPT_SECONDS: Final = 3600.0

AGAIN_SECONDS: Final = 30.0
"""After a question without an answer, so long nobody waits for one again."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a node last told; no specs where it never did."""

    until: float
    """When to ask again."""
    engine: str | None
    specs: tuple[OptionSpec, ...] | None
    trouble: str = ""


class Catalog:
    """Option specs by node; another engine version on a node is asked anew."""

    def __init__(self, watch: Watch, client: NodeClient, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._client = client
        self._clock = clock
        self._kept: dict[NodeId, _Kept] = {}
        self._one = asyncio.Lock()
        """Whoever asks while a question is under way waits for its answer instead of asking, too."""

    async def specs(self) -> tuple[OptionSpec, ...]:
        """What the reference node offers, without any token's limits.

        A kept answer serves while the node does not give one. Raises Refused when no node is online or the node
        never told.
        """
        view = await self._watch.first(online)
        if view is None:
            raise Refused("Cannot compute /options, no nodes are online.")
        async with self._one:
            kept = self._kept.get(view.node.id)
            if kept is None or not self._current(view, kept):
                kept = self._kept[view.node.id] = await self._renewed(view, kept)
        if kept.specs is None:
            raise Refused(f"Cannot compute /options, the reference node does not answer: {kept.trouble}.")
        return kept.specs

    def clear(self) -> None:
        self._kept.clear()

    async def _renewed(self, view: NodeView, kept: _Kept | None) -> _Kept:
        try:
            specs = await self._client.options(view.node)
        except NodeTrouble as trouble:
            again = self._clock() + AGAIN_SECONDS
            return _Kept(again, _engine(view), kept.specs if kept else None, str(trouble))
        return _Kept(self._clock() + KEPT_SECONDS, _engine(view), specs)

    def _current(self, view: NodeView, kept: _Kept) -> bool:
        left = kept.until - self._clock()
        return 0 < left <= KEPT_SECONDS and kept.engine == _engine(view)


def _engine(view: NodeView) -> str | None:
    return f"{view.info.engine} {view.info.engine_version} {view.info.version}" if view.info else None
