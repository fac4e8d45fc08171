"""What the scheduler goes by; each rule can be switched off, so that `clusterodm simulate` shows what it brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything off is first in, first out, on the nodes in the contract's order."""

    fair: bool = True
    """The owner with the fewest tasks on nodes goes first."""
    window: float = 600.0
    """Seconds within which an owner's tasks count as equally old, so that the larger goes first; 0: oldest first."""
    by_speed: bool = True
    """Among free nodes of the same image limit, clearly faster ones come first."""
    trial: bool = True
    """Where speeds count, a node whose speed is not known gets the smaller tasks of the window first: a large one on
    a slow node is what a cluster would wait for in the end.
    """


DEFAULT: Final = Rules()
