"""A node as it was registered, and as it is known at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clusterodm_py.core.types.names import Address, NodeId, Token


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
    promised: int = 0
    """Uploads that are passed on to it while they arrive: they hope for a slot, but hold none yet."""
    pace: float | None = None
    """Seconds it takes per image, learned from the tasks it finished; None while too little is known."""
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
        """Slots that a task sent now would find empty (contract §4.1). A node that does not tell its slots has one, or
        no task that waits for a free one would ever go there.
        """
        return max(0, (self.slots or 1) - self.queued - self.in_flight) if self.info else 0
