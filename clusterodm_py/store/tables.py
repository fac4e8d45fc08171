"""The records in plain dicts, with small indexes so that no question scans every task, and the changes they take.

No rule lives here (that is `decisions`), nothing is awaited and nothing fails half way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, Self, TypeAlias, TypeVar, assert_never

from clusterodm_py.core.types import ACTIVE, IN_FLIGHT, SERVED, Node, NodeId, OwnerId, Task, TaskId, TaskState

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

TOUCH_STEP: Final = 1.0
"""Seconds. A poll follows a poll: noting each would copy a record per request, for an expiry counted in days."""


@dataclass(frozen=True, slots=True)
class PutNode:
    """Append the node, or replace the one with its id in place."""

    node: Node


@dataclass(frozen=True, slots=True)
class DropNode:
    node: NodeId


@dataclass(frozen=True, slots=True)
class PutTask:
    """Add the task, or replace the one with its id."""

    task: Task


@dataclass(frozen=True, slots=True)
class DropTask:
    task: TaskId


@dataclass(frozen=True, slots=True)
class AddStray:
    task: TaskId
    node: NodeId


@dataclass(frozen=True, slots=True)
class DropStray:
    task: TaskId
    node: NodeId


@dataclass(frozen=True, slots=True)
class PutNote:
    key: str
    value: str


Change: TypeAlias = PutNode | DropNode | PutTask | DropTask | AddStray | DropStray | PutNote


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What a verb answers, and the change that must be kept before it may."""

    answer: T
    change: Change | None = None


class Tables:
    """Everything a store knows. Readers look; only `apply` and `touch` change it."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.tasks: dict[TaskId, Task] = {}
        self.strays: dict[tuple[TaskId, NodeId], None] = {}
        self.notes: dict[str, str] = {}
        self._by_owner: defaultdict[OwnerId, set[TaskId]] = defaultdict(set)
        self._by_state: defaultdict[TaskState, set[TaskId]] = defaultdict(set)
        self._active: Counter[OwnerId] = Counter()
        self._in_flight: Counter[NodeId] = Counter()
        self._served: Counter[OwnerId] = Counter()
        self._turns: dict[TaskId, int] = {}
        self._next_turn = 0
        for change in changes:
            self.apply(change)

    def copy(self) -> Self:
        """The same records, free to go another way; the records themselves are frozen and shared."""
        return type(self)(self.changes())

    def changes(self) -> Iterator[Change]:
        """What leads from nothing to here, keeping every order."""
        yield from map(PutNode, self.nodes.values())
        yield from map(PutTask, self.tasks.values())
        yield from (AddStray(task, node) for task, node in self.strays)
        yield from (PutNote(key, value) for key, value in self.notes.items())

    def apply(self, change: Change) -> None:
        match change:
            case PutNode(node):
                self.nodes[node.id] = node
            case DropNode(node_id):
                self.nodes.pop(node_id, None)
            case PutTask(task):
                self._put_task(task)
            case DropTask(task_id):
                self._drop_task(task_id)
            case AddStray(task_id, node_id):
                self.strays[task_id, node_id] = None
            case DropStray(task_id, node_id):
                self.strays.pop((task_id, node_id), None)
            case PutNote(key, value):
                self.notes[key] = value
            case _:
                assert_never(change)

    def restore(self, change: Change, good: Tables) -> None:
        """Take `change` back: its record is as in `good` again, though perhaps not in its old place."""
        match change:
            case PutNode(Node(id=node_id)) | DropNode(node_id):
                _mirror(self.nodes, good.nodes, node_id)
            case PutTask(Task(id=task_id)) | DropTask(task_id):
                self._drop_task(task_id)
                if (task := good.tasks.get(task_id)) is not None:
                    self._put_task(task)
            case AddStray(task_id, node_id) | DropStray(task_id, node_id):
                _mirror(self.strays, good.strays, (task_id, node_id))
            case PutNote(key, _):
                _mirror(self.notes, good.notes, key)
            case _:
                assert_never(change)

    def touch(self, task_id: TaskId, now: float) -> bool:
        """Whether the access was worth noting: the task is there and was not seen within `TOUCH_STEP`."""
        task = self.tasks.get(task_id)
        if task is None or now < task.accessed + TOUCH_STEP:
            return False
        self.tasks[task_id] = replace(task, accessed=now)
        return True

    def of_owner(self, owner: OwnerId) -> tuple[Task, ...]:
        return self._oldest_first(self._by_owner.get(owner, ()))

    def in_states(self, states: Collection[TaskState]) -> tuple[Task, ...]:
        return self._oldest_first([task for state in set(states) for task in self._by_state.get(state, ())])

    def active(self, owner: OwnerId) -> int:
        return self._active[owner]

    def count(self, states: Collection[TaskState]) -> int:
        return sum(len(self._by_state.get(state, ())) for state in set(states))

    def served(self) -> Mapping[OwnerId, int]:
        return dict(self._served)

    def in_flight(self) -> Mapping[NodeId, int]:
        return dict(self._in_flight)

    def in_flight_to(self, node: NodeId) -> int:
        return self._in_flight[node]

    def _oldest_first(self, ids: Iterable[TaskId]) -> tuple[Task, ...]:
        """By `created`; tasks of the same moment in the order they came."""
        found = [self.tasks[task_id] for task_id in ids]
        return tuple(sorted(found, key=lambda task: (task.created, self._turns[task.id])))

    def _put_task(self, task: Task) -> None:
        old = self.tasks.get(task.id)
        if old is None:
            self._turns[task.id] = self._next_turn
            self._next_turn += 1
        else:
            self._unlist(old)
            task = keeping_access(task, old)
        self.tasks[task.id] = task
        self._list(task)

    def _drop_task(self, task_id: TaskId) -> None:
        old = self.tasks.pop(task_id, None)
        if old is not None:
            self._unlist(old)
            del self._turns[task_id]

    def _list(self, task: Task) -> None:
        self._by_owner[task.owner].add(task.id)
        self._by_state[task.state].add(task.id)
        self._count(task, 1)

    def _unlist(self, task: Task) -> None:
        _discard(self._by_owner, task.owner, task.id)
        _discard(self._by_state, task.state, task.id)
        self._count(task, -1)

    def _count(self, task: Task, by: int) -> None:
        if task.state in ACTIVE:
            _tally(self._active, task.owner, by)
        if task.state in SERVED:
            _tally(self._served, task.owner, by)
        if task.state in IN_FLIGHT and task.node is not None:
            _tally(self._in_flight, task.node, by)


def keeping_access(task: Task, old: Task) -> Task:
    """`task`, but not less recently accessed than `old`: a save must not undo a touch made since it was read."""
    return replace(task, accessed=old.accessed) if task.accessed < old.accessed else task


def _mirror(mine: dict[K, T], good: Mapping[K, T], key: K) -> None:
    mine.pop(key, None)
    if key in good:
        mine[key] = good[key]


def _discard(index: defaultdict[K, set[TaskId]], key: K, task_id: TaskId) -> None:
    """Take `task_id` out, leaving no empty set behind: owners come and go for ever."""
    index[key].discard(task_id)
    if not index[key]:
        del index[key]


def _tally(counter: Counter[K], key: K, by: int) -> None:
    counter[key] += by
    if not counter[key]:
        del counter[key]
