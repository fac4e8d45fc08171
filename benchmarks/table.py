"""Rows of the table that `make bench` prints."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable


def medians(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Each measure `rounds` times, in turn, so that a slow moment of the machine hits all alike."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(found, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in found]


def row(what: str, *cells: str) -> None:
    sys.stdout.write(f"| {what} | {' | '.join(cells)} |\n")
    sys.stdout.flush()
