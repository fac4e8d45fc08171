"""Which node a task goes to, and why not to the others (contract §4.2, §4.3). Decides on views; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from clusterodm_py.core.types import Health, NodeId, NodeView

_UNLIMITED: Final = 999_999_999
"""Images a node without a limit counts as taking, for the order."""

_LINES: Final = 20
"""Of a thousand nodes, as many are worth writing down in a task's record."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a task asks of a node."""

    images: int
    """Files of every kind."""
    exclude: frozenset[NodeId] = frozenset()
    """Nodes that had their try."""


@dataclass(frozen=True, slots=True)
class Why:
    """What was thought of one node."""

    node: NodeId
    rank: int | None
    """From 1, the chosen one; None: not eligible."""
    reason: str
    """For operators: it may hold the node's last error."""


@dataclass(frozen=True, slots=True)
class Use:
    """Send the task there. The node may be full: then the task waits in its queue."""

    view: NodeView
    whys: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """No node may have the task. `message` is for the client: it names no node."""

    message: str
    whys: tuple[Why, ...]


Placement: TypeAlias = Use | Refuse


def reference(views: Iterable[NodeView]) -> NodeView | None:
    """The node that speaks for all, in engine, options and web page: the first online one, locked or not."""
    return next((view for view in views if view.online), None)


def place(views: Sequence[NodeView], need: Need) -> Placement:
    """The node for a task, with a reason for every node: the eligible ones first, by rank."""
    ranked = candidates(views, need)
    blocked = [(view, obstacle) for view in views if (obstacle := _obstacle(view, need))]
    whys = (
        *_ranking(ranked),
        *(Why(view.node.id, None, _explain(view, obstacle, need)) for view, obstacle in blocked),
    )
    if ranked:
        return Use(ranked[0], whys)
    return Refuse(_refusal(Counter(obstacle for _, obstacle in blocked), need), whys)


def candidates(views: Iterable[NodeView], need: Need) -> tuple[NodeView, ...]:
    """Every eligible node, best first: those with a free slot in the contract's order, then the full ones in it."""
    return tuple(sorted((view for view in views if not _obstacle(view, need)), key=_rank_key))


def next_turn(views: Iterable[NodeView]) -> int:
    """The turn of the node just picked, so that equals alternate.

    ClusterODM resets turns at two thousand million lest a double lose count; our integers have no end.
    """
    return max((view.turn for view in views), default=0) + 1


def waiting(views: Iterable[NodeView], unbound: int) -> int:
    """How many tasks must wait for a slot: none while one is free, since WebODM ranks nodes by this number.

    `unbound` tasks are committed but on no node yet.
    """
    offered = [view for view in views if view.online and not view.node.locked]
    if any(view.free for view in offered):
        return 0
    return unbound + sum(view.queued + view.in_flight - view.slots for view in offered)


def reasons(whys: Sequence[Why]) -> tuple[str, ...]:
    """The lines for a task's record, best first; of very many nodes the rest is only counted."""
    lines = tuple(f"{why.node}: {why.reason}" for why in whys[:_LINES])
    rest = len(whys) - len(lines)
    return (*lines, f"{rest} more nodes were considered") if rest else lines


_RankKey: TypeAlias = tuple[bool, bool, int, int, int, int]


class _Obstacle(StrEnum):
    """Why a node may not have a task, worded to follow a number of nodes."""

    LOCKED = "locked"
    OFFLINE = "offline"
    TOO_SMALL = "too small"
    TRIED = "tried already"


_REMEDIES: Final[Mapping[_Obstacle, str]] = MappingProxyType(
    {
        _Obstacle.LOCKED: "unlock a node",
        _Obstacle.OFFLINE: "bring a node back online",
        _Obstacle.TOO_SMALL: "add a node that takes {images} images",
        _Obstacle.TRIED: "add another node",
    }
)

_SETBACKS: Final = (
    "no free slot",
    "missed its last poll",
    "larger image limit",
    "fewer free slots",
    "longer queue",
    "had its turn later",
    "later in the list",
)
"""What puts a node behind another, in the order of `_rank_key`; the last one when their keys are equal."""


def _rank_key(view: NodeView) -> _RankKey:
    """Less is better. Contract §4.3, with two things in front: the first node that has a slot is picked, so those
    that have one come first; and a node that missed a poll comes after those that did not.
    """
    free = view.free
    return (
        free == 0,
        view.health is not Health.UP,
        _image_limit(view) or _UNLIMITED,
        -free,
        view.queued,
        view.turn,
    )


def _image_limit(view: NodeView) -> int:
    """0: none."""
    return (view.info.max_images or 0) if view.info else 0


def _obstacle(view: NodeView, need: Need) -> _Obstacle | None:
    if view.node.locked:
        return _Obstacle.LOCKED
    if not view.online:
        return _Obstacle.OFFLINE
    if 0 < _image_limit(view) < need.images:
        return _Obstacle.TOO_SMALL
    return _Obstacle.TRIED if need.exclude and view.node.id in need.exclude else None


def _explain(view: NodeView, obstacle: _Obstacle, need: Need) -> str:
    match obstacle:
        case _Obstacle.OFFLINE:
            return f"offline: {view.error or 'it never answered'}"
        case _Obstacle.TOO_SMALL:
            return f"takes at most {_image_limit(view)} images, the task has {need.images}"
        case _:
            return obstacle.value


def _ranking(ranked: Sequence[NodeView]) -> Iterable[Why]:
    if not ranked:
        return
    best = ranked[0]
    wait = "" if best.free else "; it waits in the node's queue"
    yield Why(best.node.id, 1, f"chosen, {_room(best)}{wait}")
    best_key = _rank_key(best)
    for rank, view in enumerate(ranked[1:], start=2):
        yield Why(view.node.id, rank, f"rank {rank}, {_room(view)}: {_setback(_rank_key(view), best_key)}")


def _setback(key: _RankKey, best: _RankKey) -> str:
    """What decided against a node: the first thing in which it is behind the best."""
    for setback, mine, its in zip(_SETBACKS, key, best, strict=False):
        if mine != its:
            return setback
    return _SETBACKS[-1]


def _room(view: NodeView) -> str:
    return f"{view.free} of {view.slots} slots free"


def _refusal(blocked: Counter[_Obstacle], need: Need) -> str:
    if not blocked:
        return "No nodes available: none is registered. Add a node."
    found = ", ".join(f"{count} {obstacle}" for obstacle, count in sorted(blocked.items()))
    remedies = " or ".join(_REMEDIES[obstacle].format(images=need.images) for obstacle in sorted(blocked))
    return f"No nodes available ({found}): {remedies}."
