"""Every noun of the house, frozen. No behaviour beyond what a value knows about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import Final, NewType, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

TaskId = NewType("TaskId", str)
"""The uuid a client knows; its case is kept as given and lookups are case-sensitive (contract §5.1)."""

NodeId = NewType("NodeId", str)
"""`host:port`: two nodes never share one, so it is also what operators read."""

OwnerId = NewType("OwnerId", str)
"""Who a task belongs to: a fingerprint or a name, never a usable token."""

NOBODY: Final = OwnerId("")
"""Owner of tasks made without any token."""


class Unset(Enum):
    """Tells "not given" from a given null, which option limits must keep apart (contract §6.2)."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Token:
    """A secret. It prints as stars; `value` is read only where it goes on the wire."""

    value: str

    def __repr__(self) -> str:
        return "Token(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens. Port 443 speaks TLS, whatever type the port was written in (contract §12 D-07)."""

    host: str
    port: int

    @property
    def tls(self) -> bool:
        return self.port == 443

    @property
    def url(self) -> str:
        """Scheme, host and port, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A NodeODM server as the operator registered it."""

    address: Address
    token: Token = Token("")
    locked: bool = False

    @property
    def id(self) -> NodeId:
        return NodeId(str(self.address))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """The node's last `/info` (contract §1.3). None where the node did not say."""

    version: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    task_queue_count: int | None = None
    max_parallel_tasks: int | None = None
    max_images: int | None = None
    """None or 0: no limit."""
    total_memory: int | None = None
    available_memory: int | None = None
    cpu_cores: int | None = None


class Health(StrEnum):
    """How far a node can be trusted to answer; moved by `core.lifecycle.node_health`."""

    UNKNOWN = "unknown"  # never answered yet
    UP = "up"
    SHAKY = "shaky"  # missed a poll; still offered work, after those that are up
    DOWN = "down"  # missed enough polls in a row to be called offline


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """What is known of a node at one moment; placement decides on these and nothing else."""

    node: Node
    info: NodeInfo | None = None
    health: Health = Health.UNKNOWN
    misses: int = 0  # polls failed in a row
    in_flight: int = 0
    """Tasks bound to the node that its own queue count cannot know of yet."""
    turn: int = 0
    """When it was last picked; larger is later (contract §4.3)."""
    refreshed: float = 0.0
    """Unix time of the last answer; 0 before the first."""
    error: str | None = None
    """Why the last poll failed, without secrets."""

    @property
    def online(self) -> bool:
        return self.health in (Health.UP, Health.SHAKY)

    @property
    def slots(self) -> int:
        """Parallel tasks the node can run."""
        return (self.info.max_parallel_tasks or 0) if self.info else 0

    @property
    def queued(self) -> int:
        """Tasks queued or running there by its own count."""
        return (self.info.task_queue_count or 0) if self.info else 0

    @property
    def free(self) -> int:
        """Slots that a task sent now would find empty (contract §4.1)."""
        return max(0, self.slots - self.queued - self.in_flight)


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


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One entry of `/options`; exactly these five keys go on the wire (contract §3.1)."""

    name: str
    type: str
    value: str
    domain: str | tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class OptionValue:
    """An option as the engine gets it, converted to its type."""

    name: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Clamp of an option (contract §3.5)."""

    max_if_equal_to: Json | Unset = UNSET
    min: float | Unset = UNSET
    max: float | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionLimit:
    """What a token may do with one option (contract §3.4, §3.5)."""

    name: str
    remove: bool = False
    domain: Json | Unset = UNSET
    value: Json | Unset = UNSET
    assure: bool = False
    between: Between | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a token may ask for (contract §6.2); None is no limit, 0 allows nothing."""

    max_images: int | None = None
    max_concurrent: int | None = None
    options: tuple[OptionLimit, ...] | None = None
    """None leaves options alone; a tuple, even an empty one, also hides max-concurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is calling, once the token was found good."""

    owner: OwnerId = NOBODY
    token: Token = Token("")
    limits: Limits = field(default_factory=Limits)
    divides: bool = False
    """True where tokens are required: then a task is visible to its owner only (contract §12.1.1)."""
    admin: bool = False
    """May see and change every task."""

    def may_touch(self, owner: OwnerId) -> bool:
        """Whether a task of `owner` exists as far as this caller is told."""
        return not self.divides or self.admin or owner == self.owner


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
    token: Token | None = None
    """Kept only where a remote access service must hear of the task's end."""


ENDED: Final = frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELED})
"""States in which nothing happens any more unless the task is restarted."""

ACTIVE: Final = frozenset({TaskState.QUEUED, TaskState.PUSHING, TaskState.COMMITTING, TaskState.ON_NODE})
"""Committed and not ended: what a token's concurrency limit counts."""

IN_FLIGHT: Final = frozenset({TaskState.PUSHING, TaskState.COMMITTING})
"""Holding a slot that the node's own queue count does not show yet."""
