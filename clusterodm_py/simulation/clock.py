"""A clock that jumps from one event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

_T = TypeVar("_T")


class Clock:
    """Events of one moment happen in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()

    def at(self, moment: float, happen: Callable[[_T], None], what: _T) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), happen, what))

    def after(self, seconds: float, happen: Callable[[_T], None], what: _T) -> None:
        self.at(self.now + seconds, happen, what)

    def run(self, settle: Callable[[], None]) -> None:
        """Until nothing is left to happen; `settle` is called when all of a moment has happened."""
        events = self._events
        while events:
            self.now, _, happen, what = heapq.heappop(events)
            happen(what)
            if not events or events[0][0] > self.now:
                settle()
