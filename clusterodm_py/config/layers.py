"""What one source of configuration gave, before any value is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clusterodm_py.config.problems import Origin, Problem
from clusterodm_py.core.types import Json


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written, and where."""

    value: Json
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The values of one source, by field name."""

    values: Mapping[str, Given] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
