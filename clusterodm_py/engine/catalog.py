"""The options a cluster offers: those of its reference node, asked once and kept for a while (contract §1.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusterodm_py.core.errors import NodeTrouble, Refused
from clusterodm_py.core.placement import reference
from clusterodm_py.core.types import NodeId, NodeView, OptionSpec
from clusterodm_py.engine.health import Watch
from clusterodm_py.nodeodm.client import NodeClient

KEPT_SECONDS: Final = 3600.0


class Catalog:
    """Option specs by node; another engine version on a node is asked anew."""

    def __init__(self, watch: Watch, client: NodeClient, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._client = client
        self._clock = clock
        self._kept: dict[NodeId, tuple[float, str | None, tuple[OptionSpec, ...]]] = {}

    async def specs(self) -> tuple[OptionSpec, ...]:
        """What the reference node offers, without any token's limits.

        A kept answer serves while the node does not give one. Raises Refused when no node is online or the node
        never told.
        """
        view = reference(await self._watch.views())
        if view is None:
            raise Refused("Cannot compute /options, no nodes are online.")
        kept = self._kept.get(view.node.id)
        if kept is not None and self._current(view, kept[0], kept[1]):
            return kept[2]
        try:
            specs = await self._client.options(view.node)
        except NodeTrouble as trouble:
            if kept is not None:
                return kept[2]
            raise Refused(
                f"Cannot compute /options, the reference node does not answer: {trouble}."
            ) from None
        self._kept[view.node.id] = (self._clock(), _engine(view), specs)
        return specs

    def clear(self) -> None:
        self._kept.clear()

    def _current(self, view: NodeView, asked: float, engine: str | None) -> bool:
        return self._clock() - asked < KEPT_SECONDS and engine == _engine(view)


def _engine(view: NodeView) -> str | None:
    return f"{view.info.engine} {view.info.engine_version} {view.info.version}" if view.info else None
