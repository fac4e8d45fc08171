"""What operators can ask for and be told, whichever face they use: one value per command, five kinds of reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from clusterodm_py.core.types import Address, Json, TaskId, Token

# -- commands ---------------------------------------------------------------------------------------------------------
# Node numbers count from 1 in list order. Numbers are not checked here: 0 stands for text that is none.


@dataclass(frozen=True, slots=True)
class NodeAdd:
    address: Address
    token: Token


@dataclass(frozen=True, slots=True)
class NodeDel:
    number: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    number: int


@dataclass(frozen=True, slots=True)
class NodeList:
    pass


@dataclass(frozen=True, slots=True)
class NodeLock:
    number: int


@dataclass(frozen=True, slots=True)
class NodeUnlock:
    number: int


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    pass


@dataclass(frozen=True, slots=True)
class NodeBest:
    images: int


@dataclass(frozen=True, slots=True)
class NodeWhy:
    """Where would a task of so many images go, and why not elsewhere? Changes nothing."""

    images: int


@dataclass(frozen=True, slots=True)
class RouteInfo:
    task: TaskId


@dataclass(frozen=True, slots=True)
class RouteList:
    number: int | None = None
    """None: the routes of every node."""


@dataclass(frozen=True, slots=True)
class TaskList:
    number: int | None = None
    """None: the tasks of every node."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskOutput:
    task: TaskId
    line: int = 0
    """The first line wanted; a negative one counts from the end (contract §1.11)."""


@dataclass(frozen=True, slots=True)
class TaskCancel:
    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskRemove:
    task: TaskId


@dataclass(frozen=True, slots=True)
class AsrViewCmd:
    images: int


@dataclass(frozen=True, slots=True)
class Help:
    pass


NodeChange: TypeAlias = NodeAdd | NodeDel | NodeLock | NodeUnlock | NodeUpdate
NodeQuestion: TypeAlias = NodeInfo | NodeList | NodeBest | NodeWhy
RouteQuestion: TypeAlias = RouteInfo | RouteList
TaskCommand: TypeAlias = TaskList | TaskInfo | TaskOutput | TaskCancel | TaskRemove
Command: TypeAlias = NodeChange | NodeQuestion | RouteQuestion | TaskCommand | AsrViewCmd | Help

# -- replies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ok:
    """Done."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Understood, not done. The wire has no room for `reason`; faces that have may show it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """Not a command, or about something that does not exist."""


@dataclass(frozen=True, slots=True)
class Lines:
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    content: Json


Refusal: TypeAlias = Fail | Invalid
Reply: TypeAlias = Ok | Refusal | Lines | Document
