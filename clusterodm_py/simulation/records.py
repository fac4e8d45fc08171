"""What happened in one run, and the figures that it comes down to."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from statistics import fmean
from typing import Any, Self

from clusterodm_py.core.types import OwnerId
from clusterodm_py.simulation.model import Job, Machine, total_work

_HOUR = 3600


class Records:
    """Told of every event that a report needs."""

    def __init__(self) -> None:
        self.first = math.inf
        self.last = 0.0
        self.busy = 0.0
        """Seconds of processing, over all slots."""
        self.never = 0
        """Tasks that were never bound: no node takes them."""
        self.owners: set[OwnerId] = set()
        self.waits = array("d")
        """Seconds from a task's commit to the start of its processing."""
        self.lone_waits = array("d")
        """Of tasks whose owner had no other at their commit."""

    def arrived(self, now: float) -> None:
        self.first = min(self.first, now)

    def started(self, owner: OwnerId, wait: float, *, lone: bool) -> None:
        self.owners.add(owner)
        self.waits.append(wait)
        if lone:
            self.lone_waits.append(wait)

    def worked(self, seconds: float) -> None:
        self.busy += seconds

    def ended(self, now: float) -> None:
        self.last = max(self.last, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A run in numbers; times in seconds."""

    tasks: float
    unplaced: float
    makespan: float
    """From the first arrival to the last end."""
    over_bound: float | None
    """Makespan by what no schedule could beat, where that is known."""
    wait_median: float
    wait_p95: float
    wait_max: float
    lone_p95: float | None
    """Of tasks whose owner had no other on the cluster: what a fair share is for. None where all have one owner."""
    utilisation: float
    """Of all slots all the time, from 0 to 1."""
    machine_hours: float
    cost: float

    @classmethod
    def of(cls, records: Records, machines: Sequence[Machine], bound: float | None) -> Self:
        makespan = max(0.0, records.last - records.first)
        waits = sorted(records.waits)
        slots = sum(machine.slots for machine in machines)
        return cls(
            tasks=len(waits),
            unplaced=records.never,
            makespan=makespan,
            over_bound=makespan / bound if bound else None,
            wait_median=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            wait_max=percentile(waits, 100),
            lone_p95=percentile(sorted(records.lone_waits), 95) if len(records.owners) > 1 else None,
            utilisation=records.busy / (slots * makespan) if makespan else 0.0,
            machine_hours=len(machines) * makespan / _HOUR,
            cost=sum(machine.price for machine in machines) * makespan / _HOUR,
        )

    @classmethod
    def mean(cls, runs: Sequence[Figures]) -> Self:
        """Of each figure, over runs of one policy."""
        means: dict[str, Any] = {
            each.name: _mean(getattr(run, each.name) for run in runs) for each in fields(cls)
        }
        return cls(**means)


def percentile(values: Sequence[float], percent: int) -> float:
    """Of sorted values the smallest that `percent` of 100 do not exceed; 0 of none."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else 0.0


def lower_bound(jobs: Sequence[Job], machines: Sequence[Machine]) -> float | None:
    """The makespan that no schedule can beat, not even one that moves running tasks between nodes.

    On machines of different speed the k largest tasks together take at least their work by the speed of the k fastest
    slots. Known for tasks that arrive together, none of them the parent of a split.
    """
    if len({job.arrival for job in jobs}) != 1 or any(job.stages for job in jobs):
        return None
    speeds = sorted((machine.speed for machine in machines for _ in range(machine.slots)), reverse=True)
    works = sorted(map(total_work, jobs), reverse=True)
    heads = (work / speed for work, speed in zip(accumulate(works), accumulate(speeds), strict=False))
    return max(*heads, sum(works) / sum(speeds))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
