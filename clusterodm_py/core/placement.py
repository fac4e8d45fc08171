"""Which node a task goes to, and why not to the others (contract §4.2, §4.3). Decides on views; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias, overload

from clusterodm_py.core.ranking import Paces, Rank, image_limit, rank, setback
from clusterodm_py.core.rules import DEFAULT, Rules
from clusterodm_py.core.types import NodeId, NodeView

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
    whys: Sequence[Why]


@dataclass(frozen=True, slots=True)
class Wait:
    """Some node may have the task, and none of them has a free slot."""

    whys: Sequence[Why]


@dataclass(frozen=True, slots=True)
class Refuse:
    """No node may have the task. `message` is for the client: it names no node."""

    message: str
    whys: Sequence[Why]


Placement: TypeAlias = Use | Wait | Refuse


def reference(views: Iterable[NodeView]) -> NodeView | None:
    """The node that speaks for all, in engine, options and web page: the first online one, locked or not."""
    return next((view for view in views if view.online), None)


def online(view: NodeView) -> bool:
    """Whether a node may be the reference one."""
    return view.online


def fits(need: Need) -> Callable[[NodeView], bool]:
    """Whether a node may have such a task, be it that the task must wait for a slot there."""
    return lambda view: _obstacle(view, need) is None


def place(views: Sequence[NodeView], need: Need, rules: Rules = DEFAULT, *, late: bool = False) -> Placement:
    """The node for a task, with a reason for every node: the eligible ones first, by rank.

    `late`: a task whose nodes are all full waits, instead of going to the best of them.
    """
    ranked = _ranked(views, need, rules)
    blocked = [(view, obstacle) for view in views if (obstacle := _obstacle(view, need))]
    whys = _Whys(ranked, blocked, need, late=late)
    if not ranked:
        return Refuse(_refusal(Counter(obstacle for _, obstacle in blocked), need), whys)
    best = ranked[0][1]
    return Use(best, whys) if best.free or not late else Wait(whys)


def candidates(views: Iterable[NodeView], need: Need, rules: Rules = DEFAULT) -> tuple[NodeView, ...]:
    """Every eligible node, best first: those with a free slot in the contract's order, then the full ones in it."""
    return tuple(view for _, view in _ranked(views, need, rules))


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

_Ranked: TypeAlias = tuple[Rank, NodeView]


def _ranked(views: Iterable[NodeView], need: Need, rules: Rules) -> list[_Ranked]:
    everyone = list(views)
    usual = Paces(view.pace for view in everyone).typical if rules.by_speed else None
    able = [(rank(view, usual), view) for view in everyone if not _obstacle(view, need)]
    able.sort(key=_key)
    return able


def _key(ranked: _Ranked) -> Rank:
    return ranked[0]


def _obstacle(view: NodeView, need: Need) -> _Obstacle | None:
    if view.node.locked:
        return _Obstacle.LOCKED
    if not view.online:
        return _Obstacle.OFFLINE
    if image_limit(view) < need.images:
        return _Obstacle.TOO_SMALL
    return _Obstacle.TRIED if need.exclude and view.node.id in need.exclude else None


class _Whys(Sequence[Why]):
    """A reason for every node, worded when it is read: of a thousand nodes few ever are."""

    def __init__(
        self,
        ranked: Sequence[_Ranked],
        blocked: Sequence[tuple[NodeView, _Obstacle]],
        need: Need,
        *,
        late: bool,
    ) -> None:
        self._ranked = ranked
        self._blocked = blocked
        self._need = need
        self._late = late

    def __len__(self) -> int:
        return len(self._ranked) + len(self._blocked)

    @overload
    def __getitem__(self, index: int) -> Why: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Why, ...]: ...
    def __getitem__(self, index: int | slice) -> Why | tuple[Why, ...]:
        numbers = range(len(self))[index]
        return self._why(numbers) if isinstance(numbers, int) else tuple(map(self._why, numbers))

    def _why(self, number: int) -> Why:
        able = len(self._ranked)
        if number >= able:
            view, obstacle = self._blocked[number - able]
            return Why(view.node.id, None, _explain(view, obstacle, self._need))
        mine, view = self._ranked[number]
        room = f"{view.free} of {view.slots} slots free"
        return Why(view.node.id, number + 1, self._said(number, room, setback(mine, self._ranked[0][0])))

    def _said(self, number: int, room: str, behind: str) -> str:
        if number:
            return f"rank {number + 1}, {room}: {behind}"
        if self._ranked[0][1].free:
            return f"chosen, {room}"
        return f"next, {room}" if self._late else f"chosen, {room}; it waits in the node's queue"


def _explain(view: NodeView, obstacle: _Obstacle, need: Need) -> str:
    match obstacle:
        case _Obstacle.OFFLINE:
            return f"offline: {view.error or 'it never answered'}"
        case _Obstacle.TOO_SMALL:
            return f"takes at most {image_limit(view)} images, the task has {need.images}"
        case _:
            return obstacle.value


def _refusal(blocked: Counter[_Obstacle], need: Need) -> str:
    if not blocked:
        return "No nodes available: none is registered. Add a node."
    found = ", ".join(f"{count} {obstacle}" for obstacle, count in sorted(blocked.items()))
    remedies = " or ".join(_REMEDIES[obstacle].format(images=need.images) for obstacle in sorted(blocked))
    return f"No nodes available ({found}): {remedies}."
