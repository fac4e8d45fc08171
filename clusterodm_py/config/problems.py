"""What can be wrong with a configuration, and where each value came from. Never shows a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from clusterodm_py.core.errors import ClusterError
from clusterodm_py.logs import redact

STARS: Final = "***"
_LONGEST: Final = 80
"""Characters of a value worth repeating to whoever wrote it."""


class Source(StrEnum):
    """Strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was found."""

    source: Source
    place: str = ""
    """The flag, variable or path as its author knows it."""

    def __str__(self) -> str:
        return f"{self.source} {self.place}".rstrip()


DEFAULT: Final = Origin(Source.DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend."""

    key: str
    origin: Origin
    fix: str
    value: str | None = None
    """As `shown`; None where there is none to repeat."""

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {self.value}"
        return f"{self.key}{value} ({self.origin}): {self.fix}"


class ConfigError(ClusterError):
    """The configuration cannot be used. Its text lists every problem found, one to a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"The configuration has {count} problem{'' if count == 1 else 's'}:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


def shown(value: object, *, secret: bool) -> str:
    """`value` fit for an error text: stars for a secret, shortened, credentials inside addresses covered."""
    if secret:
        return STARS
    text = redact(json.dumps(value, default=str))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def unknown(name: str, origin: Origin, known: Iterable[str]) -> Problem:
    """The problem of a name that nothing here goes by, with the nearest that something does."""
    nearest = get_close_matches(name, tuple(known), n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "'clusterodm --help' lists what there is"
    return Problem(key=name, origin=origin, fix=f"there is no such key; {hint}")
