"""What each owner had of the cluster lately: the measure of a fair share. Time is an argument.

Tasks on nodes alone would not do: on a cluster of one slot nobody has any when it is free, and whoever committed a
hundred tasks first would have all of them run first.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

from clusterodm_py.core.types import OwnerId

MEMORY: Final = 3600.0
"""Seconds for which a task that went to a node counts, however soon it ended."""


class Shares:
    """The starts of the last hour."""

    def __init__(self) -> None:
        self._starts: deque[tuple[float, OwnerId]] = deque()
        self._counts: Counter[OwnerId] = Counter()

    def started(self, owner: OwnerId, now: float) -> None:
        """A task of `owner` got a node."""
        self._starts.append((now, owner))
        self._counts[owner] += 1
        self._forget(now)

    def had(self, served: Mapping[OwnerId, int], now: float) -> Counter[OwnerId]:
        """For each owner the tasks it had on nodes in the last hour, or has there now (`served`) if that is more."""
        self._forget(now)
        return self._counts | Counter(served)

    def _forget(self, now: float) -> None:
        while self._starts and self._starts[0][0] <= now - MEMORY:
            _, owner = self._starts.popleft()
            self._counts[owner] -= 1
            if not self._counts[owner]:
                del self._counts[owner]
