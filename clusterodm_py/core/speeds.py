"""How fast a node is, learned from the tasks that it finished. Pure; the engine keeps the text in the store."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from clusterodm_py.core.types import NodeId

_TASKS: Final = 3
_IMAGES: Final = 50
"""What a node must have finished before its pace counts: a few trial tasks change no order."""

_FADE: Final = 0.9
"""What each further task leaves of the weight of those before: the last ten or so make the average."""

_HEAVIEST: Final = 500
"""Images from which on a task weighs no more, lest one huge task be all that is known."""

_FARTHEST: Final = math.log(4)
"""A task is taken to be off the average by this at most: options can make one a hundred times slower than another."""

_LARGEST: Final = 50.0
"""Logarithms beyond this are no node's pace, and too large to calculate with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What is known of one node."""

    tasks: int
    images: int
    weight: float
    mean: float
    """Logarithm of seconds per image, so that twice as fast and half as fast are as far off."""


def learn(speed: Speed | None, images: int, seconds: float) -> Speed | None:
    """What is known after one more finished task; one without images or time teaches nothing."""
    if images <= 0 or not 0 < seconds < math.inf:
        return speed
    seen, weight = math.log(seconds / images), float(min(images, _HEAVIEST))
    if speed is None:
        return Speed(tasks=1, images=images, weight=weight, mean=seen)
    off = seen - speed.mean
    if pace(speed) is not None:
        off = max(-_FARTHEST, min(_FARTHEST, off))
    total = speed.weight * _FADE + weight
    return Speed(
        tasks=speed.tasks + 1,
        images=speed.images + images,
        weight=total,
        mean=speed.mean + off * weight / total,
    )


def pace(speed: Speed | None) -> float | None:
    """Seconds per image; None while too little is known."""
    if speed is None or speed.tasks < _TASKS or speed.images < _IMAGES:
        return None
    return math.exp(speed.mean)


def to_text(speeds: Mapping[NodeId, Speed]) -> str:
    """For the store."""
    return json.dumps({node: asdict(speed) for node, speed in speeds.items()})


def from_text(text: str | None) -> dict[NodeId, Speed]:
    """What `to_text` wrote; of anything else what can be read, since all of it is learned again."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {NodeId(node): speed for node, value in found.items() if (speed := _speed(value))}


def _speed(value: object) -> Speed | None:
    match value:
        case {"tasks": int(tasks), "images": int(images), "weight": float(weight), "mean": float(mean)}:
            usable = tasks > 0 and images > 0 and 0 < weight < math.inf and abs(mean) < _LARGEST
            return Speed(tasks=tasks, images=images, weight=weight, mean=mean) if usable else None
        case _:
            return None
