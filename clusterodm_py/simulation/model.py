"""What is simulated: machines, tasks, and the wires between them. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from clusterodm_py.core.types import NOBODY, OwnerId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node, present from the first arrival to the last end."""

    speed: float = 1.0
    slots: int = 1
    max_images: int | None = None
    price: float = 0.0
    """Of an hour, in whatever currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """Bytes per second of one upload."""

    client: float = 12.5e6
    """From a user to the proxy."""
    cluster: float = 100e6
    """Between the proxy and a node, either way."""


@dataclass(frozen=True, slots=True)
class Alone:
    """A stage of a split that its parent works at."""

    work: float
    """Seconds at speed 1."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A stage of a split whose submodels go to the cluster, but for those the parent does itself."""

    submodels: tuple[Job, ...]


Stage: TypeAlias = Alone | Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One task of a trace."""

    id: TaskId
    arrival: float = 0.0
    """When its upload begins. A submodel's is decided by its parent."""
    images: int
    bytes: int = 0
    work: float = 0.0
    """Seconds of processing at speed 1."""
    owner: OwnerId = NOBODY
    priority: int = 0
    stages: tuple[Stage, ...] = ()
    """Of the parent of a split, which holds its slot until the last is done; instead of `work`."""


def total_work(job: Job) -> float:
    """Seconds at speed 1, submodels included."""
    total = job.work
    for stage in job.stages:
        total += stage.work if isinstance(stage, Alone) else sum(map(total_work, stage.submodels))
    return total
