"""A task: what was asked for, what is known of it, and what its node says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from clusterodm_py.core.types.access import OptionValue
from clusterodm_py.core.types.names import NodeId, OwnerId, TaskId, Token


class TaskStatus(IntEnum):
    """What clients see (contract §2.1); PyODM raises on any other value."""

    QUEUED = 10
    RUNNING = 20
    FAILED = 30
    COMPLETED = 40
    CANCELED = 50


class TaskState(StrEnum):
    """What we know; the arrows between them are `core.lifecycle.TASK_MOVES`."""

    SPOOLING = "spooling"  # initialised, files arrive
    QUEUED = "queued"  # committed, durable, bound to no node
    PUSHING = "pushing"  # holds a slot of its node; files are on their way; certainly not running
    COMMITTING = "committing"  # the node's commit was sent or is about to be: it may be running
    ON_NODE = "on_node"  # the node has it and tells how it goes
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """What the client asked for at init or in the one-shot call (contract §1.7), as it was given."""

    name: str = ""
    options: str = ""
    """Raw JSON text; empty when none was given."""
    skip_post_processing: bool = False
    webhook: str = ""
    outputs: str = ""
    date_created: int | None = None  # milliseconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """A node's last word on a task (contract §2.2): `raw` verbatim without output, and what we act on."""

    raw: str
    status: TaskStatus
    progress: float = 0.0
    processing_time: int = -1
    images: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The durable record of a task. Times are Unix seconds."""

    id: TaskId
    owner: OwnerId
    state: TaskState
    request: TaskRequest
    created: float
    accessed: float
    version: int = 0
    """Raised by the store at every change; a save with a stale one is refused."""
    committed: float | None = None
    ended: float | None = None
    options: tuple[OptionValue, ...] = ()
    """As filtered at commit; what the node gets and clients see."""
    images: int = 0
    """Files received, every kind counted (contract §2.3)."""
    bytes: int = 0
    node: NodeId | None = None
    attempts: int = 0  # dispatches begun
    touched: tuple[NodeId, ...] = ()
    """Every node a push was begun to: each may hold a part of the upload, or all of it."""
    error: str | None = None
    """Why it failed, as `status.errorMessage` tells it."""
    lines: tuple[str, ...] = ()
    """Our own output lines; the node's follow them, so output only ever grows."""
    reasons: tuple[str, ...] = ()
    """Why it went where it went."""
    report: TaskReport | None = None
    priority: int = 0
    """Among the tasks of one owner, and between owners that are served alike, the higher goes first."""
    child: bool = False
    """A submodel of a split, known by its seed.zip."""
    waiting: bool = False
    """Queued, and told so to clients: a node with a free slot was looked for in vain."""
    moves: int = 0
    """How often it was taken from a node that was gone."""
    retries: int = 0
    """How often it was run again after the engine itself had failed it."""
    avoid: tuple[NodeId, ...] = ()
    """Nodes whose engine failed it: another is preferred."""
    recoverable: bool = True
    """False once its upload was given up for room: then it lives and dies with its node."""
    kept: int = 0
    """Output lines of earlier nodes, in the logbook; `lines` and the present node's follow them."""
    token: Token | None = None
    """Kept only where a remote access service must hear of the task's end."""


ENDED: Final = frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELED})
"""States in which nothing happens any more unless the task is restarted."""

ACTIVE: Final = frozenset({TaskState.QUEUED, TaskState.PUSHING, TaskState.COMMITTING, TaskState.ON_NODE})
"""Committed and not ended: what a token's concurrency limit counts."""

SERVED: Final = frozenset({TaskState.PUSHING, TaskState.COMMITTING, TaskState.ON_NODE})
"""Having a node: what a fair share is counted in."""

IN_FLIGHT: Final = frozenset({TaskState.PUSHING, TaskState.COMMITTING})
"""Holding a slot that the node's own queue count does not show yet."""
