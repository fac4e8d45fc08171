"""The ways of binding tasks to nodes that are compared, each with one rule more than the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from clusterodm_py.core.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How tasks find their node."""

    title: str
    late: bool = True
    """Tasks wait in the queue until a slot is free; otherwise they go to a node at their commit and wait there."""
    pipelined: bool = True
    """Uploads are passed on while they arrive."""
    known: bool = False
    """Speeds were learned before the first task; otherwise they are learned on the way, where the rules need them."""
    rules: Rules = field(default_factory=Rules)


_FIFO: Final = Policy(
    title="first in, first out",
    pipelined=False,
    rules=Rules(fair=False, window=0.0, by_speed=False, trial=False),
)
_PIPELINED: Final = replace(_FIFO, title="+ uploads passed on", pipelined=True)
_FAIR: Final = replace(_PIPELINED, title="+ owners take turns", rules=replace(_PIPELINED.rules, fair=True))
_LARGER: Final = replace(_FAIR, title="+ larger first", rules=replace(_FAIR.rules, window=Rules().window))

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "eager": replace(_FIFO, title="eager push (ClusterODM)", late=False),
        "fifo": _FIFO,
        "pipelined": _PIPELINED,
        "fair": _FAIR,
        "larger": _LARGER,
        "faster": replace(_LARGER, title="+ faster nodes first", rules=Rules(trial=False)),
        "ours": replace(_LARGER, title="+ new nodes on trial: all", rules=Rules()),
        "known": replace(_LARGER, title="all, and speeds known", rules=Rules(), known=True),
    }
)
"""By the name that `--policy` takes, in the order of the report."""
