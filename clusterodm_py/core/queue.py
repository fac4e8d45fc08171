"""Tasks that wait for a node with a free slot, and who is next. Pure: it sends nothing and knows no clock.

Owners take turns, those with the fewest tasks on nodes first; among owners that are served alike, the one whose next
task has the higher priority, then the older one. An owner's own tasks go by priority, then by age, where those of
the same few minutes count as equally old and the larger goes first: a large task that starts last is what a cluster
waits for in the end. While the best free node is one whose speed is not known, it is the smaller first. A task that
fits no free node is passed over and keeps its place.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need
from clusterodm_py.core.rules import DEFAULT, Rules
from clusterodm_py.core.types import NOBODY, NodeId, NodeView, OwnerId, TaskId

_SIZES: Final = 16
"""Node sizes for which a line of fitting tasks is kept; of very many, those asked for last."""

_NONE: Final[Mapping[OwnerId, int]] = MappingProxyType({})

_Turn: TypeAlias = tuple[int, float, int, float, TaskId]
"""Sorts the tasks of one owner."""

_Head: TypeAlias = tuple[int, float, TaskId, OwnerId]
"""Sorts owners that are served alike, by their next task."""

_First: TypeAlias = tuple[int, _Head]
"""Sorts owners: how many tasks they have on nodes, and their next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A task in the queue."""

    task: TaskId
    owner: OwnerId
    images: int
    since: float
    """Unix time of its commit."""
    priority: int = 0
    """Higher goes first."""
    exclude: frozenset[NodeId] = frozenset()
    """Nodes that it must not go to."""


class Queue:
    """Who is next for which node. Every answer is that of sorting everything, found without."""

    def __init__(self, rules: Rules = DEFAULT) -> None:
        self._rules = rules
        self._entries: dict[TaskId, Waiting] = {}
        self._line = _Line(rules, ())
        """Everybody, as if any task fitted any node."""
        self._kinds: dict[frozenset[NodeId], _Kind] = {}
        """By the nodes excluded: none, mostly."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task: object) -> bool:
        return task in self._entries

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._entries.values()))

    def get(self, task: TaskId) -> Waiting | None:
        return self._entries.get(task)

    def put(self, entry: Waiting) -> None:
        """Add a task, or change it."""
        self.remove(entry.task)
        self._entries[entry.task] = entry
        self._line.add(entry)
        if entry.exclude not in self._kinds:
            self._kinds[entry.exclude] = _Kind()
        self._kinds[entry.exclude].add(entry)

    def remove(self, task: TaskId) -> bool:
        """Whether the task was there."""
        entry = self._entries.pop(task, None)
        if entry is None:
            return False
        self._line.remove(entry)
        kind = self._kinds[entry.exclude]
        kind.remove(entry)
        if not kind:
            del self._kinds[entry.exclude]
        return True

    def next(
        self, served: Mapping[OwnerId, int], fleet: Fleet, rules: Rules = DEFAULT
    ) -> tuple[Waiting, NodeView] | None:
        """Who goes next, and where; None when nobody fits a free node. Changes nothing.

        `served` counts the tasks that each owner has on nodes; who is missing there has none.
        """
        self._go_by(rules)
        first = self._first(served if rules.fair else _NONE, fleet)
        if first is None:
            return None
        entry = self._entries[first]
        view = fleet.best(Need(images=entry.images, exclude=entry.exclude))
        return (entry, view) if view else None

    def position(self, task: TaskId, served: Mapping[OwnerId, int]) -> int | None:
        """When it is the task's turn, from 1, if any task fits any slot, of nodes that need no trial; None when it is
        not there. By the rules that `next` was asked to go by last.
        """
        entry = self._entries.get(task)
        return self._line.position(entry, served if self._rules.fair else _NONE) if entry else None

    def _go_by(self, rules: Rules) -> None:
        if rules == self._rules:
            return
        self._rules = rules
        self._line = _Line(rules, self._entries.values())
        for kind in self._kinds.values():
            kind.forget_order()

    def _tries(self, fleet: Fleet) -> bool:
        """Whether the next slot is one of a node on trial."""
        rules = self._rules
        best = fleet.best(Need(1)) if rules.trial and rules.by_speed and rules.window else None
        return best is not None and best.pace is None

    def _first(self, served: Mapping[OwnerId, int], fleet: Fleet) -> TaskId | None:
        small = self._tries(fleet)
        lines = [
            kind.line(reach, self._rules, small=small)
            for exclude, kind in self._kinds.items()
            if (reach := fleet.reach(exclude))
        ]
        if not lines:
            return None
        main = max(lines, key=len)
        mixed = {owner for line in lines if line is not main for owner in line.turns}
        firsts = _firsts(lines, mixed, served)
        if first := main.first(served, mixed):
            firsts.append(first)
        return min(firsts)[1][2] if firsts else None


class _Kind:
    """Tasks that exclude the same nodes, in a line for each size of node."""

    def __init__(self) -> None:
        self._entries: dict[TaskId, Waiting] = {}
        self._lines: dict[tuple[int, bool], _Line] = {}
        """Tasks that fit a node which takes so many images, small ones first or not. The one asked for last is last."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Waiting) -> None:
        self._entries[entry.task] = entry
        for (images, _), line in self._lines.items():
            if entry.images <= images:
                line.add(entry)

    def remove(self, entry: Waiting) -> None:
        del self._entries[entry.task]
        for (images, _), line in self._lines.items():
            if entry.images <= images:
                line.remove(entry)

    def forget_order(self) -> None:
        """The rules changed."""
        self._lines.clear()

    def line(self, images: int, rules: Rules, *, small: bool) -> _Line:
        """The tasks that fit a node which takes so many images."""
        line = self._lines.pop((images, small), None)
        if line is None:
            fitting = [entry for entry in self._entries.values() if entry.images <= images]
            line = _Line(rules, fitting, small=small)
            if len(self._lines) == _SIZES:
                del self._lines[next(iter(self._lines))]
        self._lines[images, small] = line
        return line


class _Line:
    """Tasks in the order of their owners' turns."""

    def __init__(self, rules: Rules, entries: Iterable[Waiting], *, small: bool = False) -> None:
        self._rules = rules
        self._sign = 1 if small else -1
        self.turns: defaultdict[OwnerId, list[_Turn]] = defaultdict(list)
        """Each owner's tasks in order; only of owners that have any."""
        for entry in entries:
            self.turns[self._owner(entry)].append(self._turn(entry))
        for turns in self.turns.values():
            turns.sort()
        self._heads = sorted(_head(turns[0], owner) for owner, turns in self.turns.items())

    def __len__(self) -> int:
        return len(self._heads)

    def add(self, entry: Waiting) -> None:
        owner, turn = self._owner(entry), self._turn(entry)
        turns = self.turns[owner]
        if turns and turn > turns[0]:
            insort(turns, turn)
            return
        self._drop_head(owner)
        turns.insert(0, turn)
        insort(self._heads, _head(turns[0], owner))

    def remove(self, entry: Waiting) -> None:
        owner, turn = self._owner(entry), self._turn(entry)
        turns = self.turns[owner]
        if turn != turns[0]:
            del turns[bisect_left(turns, turn)]
            return
        self._drop_head(owner)
        del turns[0]
        if turns:
            insort(self._heads, _head(turns[0], owner))
        else:
            del self.turns[owner]

    def first(self, served: Mapping[OwnerId, int], skip: AbstractSet[OwnerId]) -> _First | None:
        """Who is next, owners in `skip` left out."""
        best: _First | None = None
        for head in self._heads:
            owner = head[3]
            if owner in skip:
                continue
            count = served.get(owner, 0)
            if best is None or count < best[0]:
                best = (count, head)
            if not count:
                break
        return best

    def position(self, entry: Waiting, served: Mapping[OwnerId, int]) -> int:
        """Each task placed counts for its owner, so the owner's next task is as if the owner had been served once
        more: every task has a level, and tasks go by level, those of one level by the owners' order.
        """
        mine, turn = self._owner(entry), self._turn(entry)
        ahead = bisect_left(self.turns[mine], turn)
        level = served.get(mine, 0) + ahead
        key = _head(turn, mine)
        place = ahead + 1
        for owner, turns in self.turns.items():
            earlier = level - served.get(owner, 0)
            if earlier < 0 or owner == mine:
                continue
            if earlier >= len(turns):
                place += len(turns)
            else:
                place += earlier + (_head(turns[earlier], owner) < key)
        return place

    def _drop_head(self, owner: OwnerId) -> None:
        if turns := self.turns[owner]:
            del self._heads[bisect_left(self._heads, _head(turns[0], owner))]

    def _owner(self, entry: Waiting) -> OwnerId:
        return entry.owner if self._rules.fair else NOBODY

    def _turn(self, entry: Waiting) -> _Turn:
        window = self._rules.window
        if not window:
            return (-entry.priority, 0.0, 0, entry.since, entry.task)
        return (-entry.priority, entry.since // window, self._sign * entry.images, entry.since, entry.task)


def _head(turn: _Turn, owner: OwnerId) -> _Head:
    return (turn[0], turn[3], turn[4], owner)


def _firsts(
    lines: Sequence[_Line], owners: AbstractSet[OwnerId], served: Mapping[OwnerId, int]
) -> list[_First]:
    """For `owners` that stand in several lines, which of these has their next task."""
    turns = [(owner, min(line.turns[owner][0] for line in lines if owner in line.turns)) for owner in owners]
    return [(served.get(owner, 0), _head(turn, owner)) for owner, turn in turns]
