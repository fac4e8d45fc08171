"""The scenario of a public cluster: many tokens, days and nights, bursts of one user, sizes with a heavy tail."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Final

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.model import Job, Machine

_DAY: Final = 86_400
_DAYS: Final = 30
_OWNERS: Final = 60
_SINGLES: Final = 380
"""Tasks a day that come alone."""
_BURSTS: Final = 3.0
"""Times a day that somebody commits a whole campaign."""

MACHINES: Final = (
    *(Machine(speed=speed, max_images=500, price=0.20) for speed in (0.7, 1.0, 1.0, 1.3) * 3),
    *(Machine(speed=speed, price=0.60) for speed in (1.0, 1.4) * 4),
)


def month(random: Random) -> Sequence[Job]:
    """The i-th busiest token sends in proportion to 1/i."""
    owners = [OwnerId(f"token-{number:02}") for number in range(1, _OWNERS + 1)]
    shares = [1 / number for number in range(1, _OWNERS + 1)]
    arrivals = sorted((*_singles(random), *_bursts(random)))
    jobs: list[Job] = []
    numbers = count(1)
    for moment, many in arrivals:
        owner = random.choices(owners, shares)[0]
        for _ in range(many):
            arrival = moment + (random.uniform(0, 1800) if many > 1 else 0)
            jobs.append(_job(random, TaskId(f"task-{next(numbers):06}"), owner, arrival))
    return sorted(jobs, key=lambda job: job.arrival)


def _singles(random: Random) -> Iterator[tuple[float, int]]:
    """Four times as many at noon as at midnight."""
    moment = 0.0
    while (moment := moment + random.expovariate(_SINGLES * 1.6 / _DAY)) < _DAYS * _DAY:
        daylight = 0.5 - 0.5 * math.cos(2 * math.pi * moment / _DAY)
        if random.random() * 1.6 < 0.4 + 1.2 * daylight:
            yield moment, 1


def _bursts(random: Random) -> Iterator[tuple[float, int]]:
    moment = 0.0
    while (moment := moment + random.expovariate(_BURSTS / _DAY)) < _DAYS * _DAY:
        yield moment, random.randint(10, 80)


def _job(random: Random, task: TaskId, owner: OwnerId, arrival: float) -> Job:
    images = max(5, min(8000, int(random.lognormvariate(math.log(110), 1.1))))
    return Job(
        id=task,
        arrival=arrival,
        images=images,
        bytes=int(images * 6e6 * random.lognormvariate(0, 0.3)),
        work=120 + images * 12 * random.lognormvariate(0, 0.4),
        owner=owner,
    )
