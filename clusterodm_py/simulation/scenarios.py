"""Scenarios that need no file: their machines and wires, and a trace that a seed decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Final

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.model import Alone, Job, Machine, Spread, Wires
from clusterodm_py.simulation.month import MACHINES, month

PHOTO: Final = 6_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated, apart from the policy."""

    title: str
    machines: tuple[Machine, ...]
    jobs: Callable[[Random], Sequence[Job]]
    """By their arrival."""
    wires: Wires = field(default_factory=Wires)
    runs: int = 1
    """With seeds that follow each other; the report shows their mean."""


def dar_es_salaam(random: Random) -> Sequence[Job]:
    """12,000 images that ODM splits by 400. Seconds of an image are what eight cores take, roughly."""
    images = 12_000
    parent = Job(
        id=TaskId("dar-es-salaam"),
        images=images,
        bytes=images * PHOTO,
        owner=OwnerId("mappers"),
        stages=(
            Alone(0.2 * images),  # split
            _submodels(random, "reconstruct", 10.0),
            Alone(0.3 * images),  # align
            _submodels(random, "toolchain", 18.0),
            Alone(1.0 * images),  # merge
        ),
    )
    return (parent,)


def dar_es_salaam_busy(random: Random) -> Sequence[Job]:
    """Six machines have other work when the first submodels come, and are free an hour or two later."""
    others = [
        Job(
            id=TaskId(f"survey-{number}"),
            arrival=5400,
            images=600,
            bytes=600 * PHOTO,
            work=600 * 28.0 * random.uniform(0.5, 1.0),
            owner=OwnerId("surveyors"),
        )
        for number in range(6)
    ]
    return (*dar_es_salaam(random), *others)


def _submodels(random: Random, stage: str, seconds: float) -> Spread:
    """Thirty, of so many seconds an image."""
    size = 400
    return Spread(
        tuple(
            Job(
                id=TaskId(f"{stage}-{number:02}"),
                images=size,
                bytes=size * PHOTO,
                work=size * seconds * random.lognormvariate(0, 0.25),
                owner=OwnerId("mappers"),
            )
            for number in range(30)
        )
    )


def heavy_tail(random: Random) -> Sequence[Job]:
    """Forty tasks at once: most small, a few as large as all others together."""

    def job(number: int) -> Job:
        images = min(1000, int(40 * random.paretovariate(1.1)))
        work = images * 10 * random.lognormvariate(0, 0.2)
        return Job(id=TaskId(f"task-{number:02}"), images=images, work=work)

    return [job(number) for number in range(40)]


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "dar-es-salaam": Scenario(
            title="12,000 images of Dar es Salaam, split by 400, on 11 machines",
            machines=(Machine(price=0.40),) * 11,
            jobs=dar_es_salaam,
        ),
        "dar-es-salaam-busy": Scenario(
            title="the same, while six of the machines have other work at first",
            machines=(Machine(price=0.40),) * 11,
            jobs=dar_es_salaam_busy,
        ),
        "public-month": Scenario(
            title="a month of a public cluster: 60 tokens, bursts, sizes from a garden to a town",
            machines=MACHINES,
            jobs=month,
        ),
        "heavy-tail": Scenario(
            title="40 tasks of very different size at once, on 6 nodes of speed 0.5 to 2",
            machines=tuple(Machine(speed=speed, price=0.40) for speed in (1.0, 0.5, 2.0, 0.7, 1.6, 1.3)),
            jobs=heavy_tail,
            runs=5,
        ),
    }
)
