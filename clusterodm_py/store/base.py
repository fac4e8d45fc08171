"""What a store promises. The memory store is the readable specification; every other must behave alike.

Shared by all verbs: records are frozen values; a change is durable when the call returns (it survives the death of
this process); changes are atomic, whoever else is calling; `StoreTrouble` is raised when that cannot be done, and
then nothing was changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Protocol, Self

from clusterodm_py.core.types import Node, NodeId, OwnerId, Task, TaskId, TaskState


class Nodes(Protocol):
    """The registered nodes, in the order they were added: the order operators number them by."""

    async def add(self, node: Node) -> None:
        """Append `node`. Raises AlreadyThere when its host and port are taken."""

    async def get(self, node: NodeId) -> Node | None: ...

    async def all(self) -> tuple[Node, ...]:
        """Every node, oldest first."""

    async def replace(self, node: Node) -> None:
        """Change token or lock of the node with this id, keeping its place. Raises Stale when it is gone."""

    async def remove(self, node: NodeId) -> bool:
        """Forget a node; False when it was not there. Tasks that name it are kept: it may come back."""


class Tasks(Protocol):
    """Every task from its init until it is removed or retention forgets it."""

    async def create(self, task: Task) -> Task:
        """Keep a new task at version 1 and return it so. Raises AlreadyThere when the id is taken."""

    async def get(self, task: TaskId) -> Task | None: ...

    async def save(self, task: Task) -> Task:
        """Replace the record if its version is still `task.version`; returns it with the version raised by one.

        Raises Stale when the record is gone or was changed meanwhile, ValueError when the state may not move so
        (`core.lifecycle.may_move`) or one more task would hold a slot of its node: that is `reserve`. Never takes back
        a `touch` made since the record was read.
        """

    async def commit(self, task: Task, *, max_concurrent: int | None) -> Task:
        """Save a SPOOLING task as QUEUED, if its owner then has at most `max_concurrent` ACTIVE tasks.

        Counting and changing are one step, so the limit is exact. Raises LimitReached (the upload stays as it was),
        Stale, or ValueError when the task is not SPOOLING.
        """

    async def reserve(self, task: Task, node: NodeId, *, slots: int | None) -> Task | None:
        """Bind a QUEUED task to `node`: PUSHING, `node` set and among `touched`, one more attempt, not waiting
        any more; holds a slot.

        Refused with None when `slots` is given and the node already has that many tasks IN_FLIGHT: two commits
        never take the same slot. Raises Stale, or ValueError when the task is not QUEUED.
        """

    async def remove(self, task: TaskId) -> bool:
        """Forget a task; False when it was not there."""

    async def touch(self, task: TaskId, now: float) -> None:
        """Note that somebody asked for the task, which puts off its expiry; silent when it is not there.

        Cheap, as it comes with every poll: no new version, to the second only, and the last minute of it may be lost
        in a crash.
        """

    async def of_owner(self, owner: OwnerId) -> tuple[Task, ...]:
        """Tasks of one owner, oldest first: by `created`, those of one moment in the order they came."""

    async def in_states(self, states: Collection[TaskState]) -> tuple[Task, ...]:
        """Tasks in any of `states`, oldest first."""

    async def active(self, owner: OwnerId) -> int:
        """How many ACTIVE tasks `owner` has."""

    async def count(self, states: Collection[TaskState]) -> int:
        """How many tasks are in any of `states`."""

    async def in_flight(self) -> Mapping[NodeId, int]:
        """How many tasks are IN_FLIGHT to each node; nodes with none are absent."""

    async def served(self) -> Mapping[OwnerId, int]:
        """How many tasks of each owner are SERVED: on a node, or on their way to one; owners with none are absent."""


class Strays(Protocol):
    """Copies that nodes should drop: left behind by a cancel, a removal or a move to another node."""

    async def add(self, task: TaskId, node: NodeId) -> None:
        """Note that `node` may hold a copy of `task` that nobody wants; noting twice is noting once."""

    async def all(self) -> tuple[tuple[TaskId, NodeId], ...]: ...

    async def remove(self, task: TaskId, node: NodeId) -> None:
        """The node was told, or never had it. Silent when not there."""


class Notes(Protocol):
    """Small facts about the installation itself, such as what was imported already."""

    async def get(self, key: str) -> str | None: ...

    async def put(self, key: str, value: str) -> None: ...


class Store(Protocol):
    """The four tables of one cluster; an async context manager that opens and closes them."""

    @property
    def nodes(self) -> Nodes: ...

    @property
    def tasks(self) -> Tasks: ...

    @property
    def strays(self) -> Strays: ...

    @property
    def notes(self) -> Notes: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
