"""A task's output as clients count it: lines of earlier nodes, our own lines, then the present node's, sliced as one
list the way NodeODM slices (contract §1.11).

Texts are the values of `line=` and `with_output=`, as the client sent them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from clusterodm_py.core.types import Json

_LEADING_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]{1,15})")
"""More digits than these are beyond the end of any output, and Python refuses to read very many."""


def slice_start(text: str | None, length: int) -> int:
    """Index of the first line wanted out of `length`: negative counts from the end, what is no number is 0."""
    wanted = _wanted(text)
    return max(0, length + wanted) if wanted < 0 else min(wanted, length)


def node_line(text: str | None, own: int) -> int:
    """The `line` to ask of the node for a client that wants `text`, when `own` lines stand in front of the node's.

    A negative one goes to the node as it is: how many of our lines are also needed shows when its answer is short.
    """
    wanted = _wanted(text)
    return wanted if wanted < 0 else max(0, wanted - own)


def own_start(text: str | None, own: int, answered: int) -> int:
    """Index of the first of our `own` lines that is wanted, when the node gave `answered` lines for `node_line`."""
    wanted = _wanted(text)
    if wanted < 0:
        return min(own, max(0, own + answered + wanted))
    return min(wanted, own)


def join_lines(own: Sequence[str], node: Sequence[str], text: str | None) -> list[str]:
    """The lines wanted, when the node answered `node` to `node_line`; without a node, pass none of its lines."""
    return [*own[own_start(text, len(own), len(node)) :], *node]


def answered_from(text: str | None, own: int, answered: int) -> int | None:
    """Which of the node's lines the first of its answer to `node_line` is; None when its answer does not tell."""
    asked = node_line(text, own)
    if asked >= 0:
        return asked
    return 0 if answered < -asked else None


def parse_lines(output: Json) -> list[str] | None:
    """The lines in a node's `output`; None when there are none to be had. What is no text is kept as JSON."""
    if not isinstance(output, list):
        return None
    return [line if isinstance(line, str) else json.dumps(line) for line in output]


def _wanted(text: str | None) -> int:
    found = _LEADING_INTEGER.match(text or "")
    return int(found[1]) if found else 0
