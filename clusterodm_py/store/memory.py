"""The readable specification of a store: records in plain dicts, gone with the process.

Its four tables serve every store that answers from memory: such a store only says how a change is kept (`Keeper`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Protocol, Self, TypeVar

from clusterodm_py.core.types import Node, NodeId, OwnerId, Task, TaskId, TaskState
from clusterodm_py.store import decisions
from clusterodm_py.store.tables import Decision, Tables

T = TypeVar("T")


class Keeper(Protocol):
    """How a store keeps what its verbs decide."""

    @property
    def tables(self) -> Tables:
        """What readers see: durable changes only."""

    async def change(self, decide: Callable[[Tables], Decision[T]]) -> T:
        """Decide, keep the change durably, apply it, answer; one change after the other."""

    def touch(self, task: TaskId, now: float) -> None:
        """Note an access, cheaply and without a promise to survive."""


class KeptNodes:
    """`store.base.Nodes` over a keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def add(self, node: Node) -> None:
        await self._keeper.change(lambda tables: decisions.add_node(tables, node))

    async def get(self, node: NodeId) -> Node | None:
        return self._keeper.tables.nodes.get(node)

    async def all(self) -> tuple[Node, ...]:
        return tuple(self._keeper.tables.nodes.values())

    async def replace(self, node: Node) -> None:
        await self._keeper.change(lambda tables: decisions.replace_node(tables, node))

    async def remove(self, node: NodeId) -> bool:
        return await self._keeper.change(lambda tables: decisions.remove_node(tables, node))


class KeptTasks:
    """`store.base.Tasks` over a keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def create(self, task: Task) -> Task:
        return await self._keeper.change(lambda tables: decisions.create_task(tables, task))

    async def get(self, task: TaskId) -> Task | None:
        return self._keeper.tables.tasks.get(task)

    async def save(self, task: Task) -> Task:
        return await self._keeper.change(lambda tables: decisions.save_task(tables, task))

    async def commit(self, task: Task, *, max_concurrent: int | None) -> Task:
        return await self._keeper.change(lambda tables: decisions.commit_task(tables, task, max_concurrent))

    async def reserve(self, task: Task, node: NodeId, *, slots: int | None) -> Task | None:
        return await self._keeper.change(lambda tables: decisions.reserve_task(tables, task, node, slots))

    async def remove(self, task: TaskId) -> bool:
        return await self._keeper.change(lambda tables: decisions.remove_task(tables, task))

    async def touch(self, task: TaskId, now: float) -> None:
        self._keeper.touch(task, now)

    async def of_owner(self, owner: OwnerId) -> tuple[Task, ...]:
        return self._keeper.tables.of_owner(owner)

    async def in_states(self, states: Collection[TaskState]) -> tuple[Task, ...]:
        return self._keeper.tables.in_states(states)

    async def active(self, owner: OwnerId) -> int:
        return self._keeper.tables.active(owner)

    async def count(self, states: Collection[TaskState]) -> int:
        return self._keeper.tables.count(states)

    async def served(self) -> Mapping[OwnerId, int]:
        return self._keeper.tables.served()

    async def in_flight(self) -> Mapping[NodeId, int]:
        return self._keeper.tables.in_flight()


class KeptStrays:
    """`store.base.Strays` over a keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def add(self, task: TaskId, node: NodeId) -> None:
        await self._keeper.change(lambda tables: decisions.add_stray(tables, task, node))

    async def all(self) -> tuple[tuple[TaskId, NodeId], ...]:
        return tuple(self._keeper.tables.strays)

    async def remove(self, task: TaskId, node: NodeId) -> None:
        await self._keeper.change(lambda tables: decisions.remove_stray(tables, task, node))


class KeptNotes:
    """`store.base.Notes` over a keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def get(self, key: str) -> str | None:
        return self._keeper.tables.notes.get(key)

    async def put(self, key: str, value: str) -> None:
        await self._keeper.change(lambda tables: decisions.put_note(tables, key, value))


class MemoryStore:
    """A store for tests and demonstrations: it outlives being closed and opened again, not the process."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.nodes = KeptNodes(self)
        self.tasks = KeptTasks(self)
        self.strays = KeptStrays(self)
        self.notes = KeptNotes(self)

    async def change(self, decide: Callable[[Tables], Decision[T]]) -> T:
        decision = decide(self.tables)
        if decision.change is not None:
            self.tables.apply(decision.change)
        return decision.answer

    def touch(self, task: TaskId, now: float) -> None:
        self.tables.touch(task, now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
