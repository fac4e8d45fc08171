"""The nodes that have a free slot, kept in order while they change: a decision does not sort a thousand of them.

Chooses as `core.placement.place` does, among nodes with a free slot.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Final, TypeAlias

from clusterodm_py.core.placement import Need
from clusterodm_py.core.ranking import UNLIMITED, Paces, Rank, clearly_slower, image_limit, rank
from clusterodm_py.core.rules import DEFAULT, Rules
from clusterodm_py.core.types import Health, NodeId, NodeView

_Place: TypeAlias = tuple[Rank, int, NodeId]
"""What the list is sorted by; the number is the node's place in the list of all nodes, which decides between equals."""

_CLASSES: Final = tuple((False, *late) for late in product((False, True), repeat=2))
"""How the ranks of nodes with a free slot begin, best first; within each they go on with the image limit."""


class Fleet:
    """Views of nodes, of which those that can take a task now are in order."""

    def __init__(self, views: Iterable[NodeView] = (), rules: Rules = DEFAULT) -> None:
        everyone = list(views)
        self._rules = rules
        self._paces = Paces(view.pace for view in everyone)
        self._typical = self._usual()
        self._seats = {view.node.id: seat for seat, view in enumerate(everyone)}
        self._views = {view.node.id: view for view in everyone}
        self._places: dict[NodeId, _Place] = {}
        self._order: list[_Place] = []
        self._arrange()

    def __bool__(self) -> bool:
        return bool(self._order)

    def put(self, view: NodeView) -> None:
        """A node is new or has changed; one that is locked, offline or full is none that can take a task."""
        node = view.node.id
        before = self._views.get(node)
        self._seats.setdefault(node, len(self._seats))
        self._views[node] = view
        self._paces.replace(before.pace if before else None, view.pace)
        if self._usual() != self._typical:
            self._typical = self._usual()
            self._arrange()
            return
        if left := self._places.pop(node, None):
            del self._order[bisect_left(self._order, left)]
        if _is_free(view):
            place = self._places[node] = self._place(view)
            insort(self._order, place)

    def get(self, node: NodeId) -> NodeView | None:
        """The node, where it can take a task."""
        return self._views[node] if node in self._places else None

    def best(self, need: Need) -> NodeView | None:
        """The node that `place` would choose, None where it would make the task wait."""
        for start in _CLASSES:
            first = bisect_left(self._order, ((*start, need.images),))
            for place in self._within(start, range(first, len(self._order)), need.exclude):
                return self._views[place[2]]
        return None

    def at_home(self, home: NodeId | None, need: Need, best: NodeView) -> NodeView:
        """Where a task goes whose files are at `home` already, or on their way there, when `best` is its best node.

        Home, unless it cannot take the task, missed a poll, or is clearly slower: an image is sent in a fraction of a
        second and processed in many.
        """
        view = self.get(home) if home else None
        if view is None or view.health is not Health.UP:
            return best
        if image_limit(view) < need.images or home in need.exclude:
            return best
        return best if self._rules.by_speed and clearly_slower(view.pace, best.pace) else view

    def reach(self, exclude: AbstractSet[NodeId] = frozenset()) -> int:
        """Images of the largest task that could be placed, were `exclude` its nodes to avoid; 0: none could."""
        largest = 0
        for start in _CLASSES:
            last = bisect_left(self._order, ((*start, UNLIMITED + 1),))
            for place in self._within(start, range(last - 1, -1, -1), exclude):
                largest = max(largest, place[0][3])
                break
        return largest

    def _within(
        self, start: tuple[bool, ...], numbers: range, exclude: AbstractSet[NodeId]
    ) -> Iterator[_Place]:
        """The places with these numbers that may be used, while their ranks begin like `start`."""
        for number in numbers:
            place = self._order[number]
            if place[0][:3] != start:
                return
            if place[2] not in exclude:
                yield place

    def _usual(self) -> float | None:
        return self._paces.typical if self._rules.by_speed else None

    def _arrange(self) -> None:
        self._places = {node: self._place(view) for node, view in self._views.items() if _is_free(view)}
        self._order = sorted(self._places.values())

    def _place(self, view: NodeView) -> _Place:
        return rank(view, self._typical), self._seats[view.node.id], view.node.id


def _is_free(view: NodeView) -> bool:
    return view.free > 0 and view.online and not view.node.locked
