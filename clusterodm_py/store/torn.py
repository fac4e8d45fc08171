"""Reads what is left of a JSON file that was overwritten in place and cut off, or that a hand left unfinished.

ClusterODM's state files can be in that shape (contract §12 D-23). Nothing here raises, whatever the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.types import Json

_DECODER: Final = json.JSONDecoder()
_ELEMENT: Final = re.compile(r"()(?=\{)")


@dataclass(frozen=True, slots=True)
class Found:
    """The complete entries, in their order: elements have no key."""

    entries: tuple[tuple[str, Json], ...] = ()
    whole: bool = True
    """False when the text is not one JSON value of the kind asked for, so that entries may be missing."""


def elements(raw: bytes) -> Found:
    """The elements of an array; of a torn one, those that are objects."""
    text = _text(raw)
    whole = _parsed(text)
    if isinstance(whole, list):
        return Found(tuple(("", element) for element in whole))
    return Found(tuple(_scan(text, _ELEMENT)), whole=False)


def members(raw: bytes, key: re.Pattern[str]) -> Found:
    """The members of an object; of a torn one, those that are objects and have such a `key`."""
    text = _text(raw)
    whole = _parsed(text)
    if isinstance(whole, dict):
        return Found(tuple(whole.items()))
    member = re.compile(rf'"({key.pattern})"\s*:\s*(?=\{{)', key.flags)
    return Found(tuple(_scan(text, member)), whole=False)


def _text(raw: bytes) -> str:
    """By its byte order mark or its zero bytes, as JSON may come; what cannot be read becomes a mark."""
    return raw.decode(json.detect_encoding(raw), "replace")


def _parsed(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _scan(text: str, lead: re.Pattern[str]) -> Iterator[tuple[str, Json]]:
    """Each complete object after a match of `lead`, by the match's group; incomplete ones are stepped into."""
    at = 0
    while found := lead.search(text, at):
        try:
            value, at = _DECODER.raw_decode(text, found.end())
        except RecursionError:  # nothing that ClusterODM or a hand would write
            return
        except ValueError:
            at = found.end() + 1
        else:
            yield found[1], value
