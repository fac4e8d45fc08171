"""The order of nodes: contract §4.3, with what we know better put around it. Compares; chooses nothing."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final, TypeAlias

from clusterodm_py.core.types import Health, NodeView

UNLIMITED: Final = 999_999_999
"""Images a node without a limit counts as taking, for the order."""

Rank: TypeAlias = tuple[bool, bool, bool, int, int, int, int, int]
"""Less is better."""

SETBACKS: Final = (
    "no free slot",
    "uploads under way hope for its free slots",
    "missed its last poll",
    "larger image limit",
    "slower",
    "fewer free slots",
    "longer queue",
    "had its turn later",
    "later in the list",
)
"""What puts a node behind another, in the order of `rank`; the last one when their ranks are equal."""

_STEP: Final = math.log(1.25)
"""Paces closer than this (as a ratio) are alike, so that nodes of one kind take turns although none is ever exactly
as fast as the next.
"""

_GRAIN: Final = math.log(1.05)
"""The typical pace moves in steps of this size: a hair's change of one node must not shuffle all others."""


def image_limit(view: NodeView) -> int:
    """The most files a task for this node may have."""
    return (view.info.max_images if view.info else None) or UNLIMITED


def rank(view: NodeView, usual: float | None) -> Rank:
    """The key to sort nodes by; `usual` is the typical pace of all of them, None to leave speed aside.

    Contract §4.3 picks the first node that has a slot, so those that have one come first; then those whose free
    slots are more than the uploads on their way to them; then those that did not miss a poll. Among nodes of one
    image limit, the contract's next step, clearly faster ones come before the rest of its order.
    """
    free = view.free
    spare = free - view.promised
    pace = view.pace
    return (
        free == 0,
        spare <= 0,
        view.health is not Health.UP,
        image_limit(view),
        round((math.log(pace) - usual) / _STEP) if pace and usual is not None else 0,
        -spare,
        view.queued,
        view.turn,
    )


def clearly_slower(pace: float | None, than: float | None) -> bool:
    """False where either is not known."""
    return bool(pace and than and math.log(pace / than) > _STEP)


def setback(mine: Rank, best: Rank) -> str:
    """What decided against a node: the first thing in which it is behind the best."""
    for text, ours, its in zip(SETBACKS, mine, best, strict=False):
        if ours != its:
            return text
    return SETBACKS[-1]


class Paces:
    """The known paces of many nodes, which tells the typical one while they change."""

    def __init__(self, paces: Iterable[float | None]) -> None:
        self._sorted = sorted(pace for pace in paces if pace)

    def replace(self, old: float | None, new: float | None) -> None:
        """A node was known to have the `old` pace, and has the `new` one."""
        if old == new:
            return
        if old:
            del self._sorted[bisect_left(self._sorted, old)]
        if new:
            self._sorted.insert(bisect_right(self._sorted, new), new)

    @property
    def typical(self) -> float | None:
        """The median, as a rounded logarithm; what a node of unknown pace counts as having. None: no pace is known."""
        found = self._sorted
        return round(math.log(found[len(found) // 2]) / _GRAIN) * _GRAIN if found else None
