"""A task's output: our own lines, then the node's, sliced as one list the way NodeODM slices (contract §1.11).

Texts are the values of `line=` and `with_output=`, as the client sent them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_LEADING_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]{1,15})")
"""More digits than these are beyond the end of any output, and Python refuses to read very many."""


def slice_start(text: str | None, length: int) -> int:
    """Index of the first line wanted out of `length`: negative counts from the end, what is no number is 0."""
    wanted = _wanted(text)
    return max(0, length + wanted) if wanted < 0 else min(wanted, length)


def node_line(text: str | None, own: int) -> int:
    """The `line` to ask of the node for a client that wants `text`, when `own` lines of ours stand in front.

    A negative one goes to the node as it is: how many of our lines are also needed shows when its answer is short.
    """
    wanted = _wanted(text)
    return wanted if wanted < 0 else max(0, wanted - own)


def join_lines(own: Sequence[str], node: Sequence[str], text: str | None) -> list[str]:
    """The lines wanted, when the node answered `node` to `node_line`; without a node, pass none of its lines."""
    wanted = _wanted(text)
    if wanted < 0:
        missing = -wanted - len(node)
        first = max(0, len(own) - missing)
    else:
        first = wanted
    return [*own[first:], *node]


def _wanted(text: str | None) -> int:
    found = _LEADING_INTEGER.match(text or "")
    return int(found[1]) if found else 0
