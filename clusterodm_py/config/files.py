"""The configuration file: one JSON object of keys. Reads it, judges no value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from clusterodm_py.config.layers import Given, Layer
from clusterodm_py.config.problems import Origin, Problem, Source, unknown
from clusterodm_py.config.settings import ACCEPTED, CONFIG
from clusterodm_py.core.types import Json

DEFAULT_FILE: Final = "config-default.json"
"""ClusterODM's own; read from the working folder where no other file is named (contract §9.1)."""


def read_file(path: Path, named_by: Origin) -> Layer:
    """The keys of the file at `path`; nulls count as not given."""
    try:
        content = _parse(path.read_bytes())
    except OSError as error:
        return _unusable(path, named_by, f"cannot read it: {error.strerror}")
    except (ValueError, RecursionError) as error:
        return _unusable(path, named_by, f"it must hold one JSON object: {error}")
    origin = Origin(Source.FILE, str(path))
    return Layer(
        values={
            ACCEPTED[name].field: Given(value, origin)
            for name, value in content.items()
            if name in ACCEPTED and name != CONFIG.name and value is not None
        },
        problems=tuple(unknown(name, origin, ACCEPTED) for name in content if name not in ACCEPTED),
    )


def _parse(data: bytes) -> Mapping[str, Json]:
    content = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant)
    if not isinstance(content, dict):
        raise ValueError("it holds something else")  # noqa: TRY004 - bad content, not a wrong call
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands there twice")
    return content


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _unusable(path: Path, named_by: Origin, fix: str) -> Layer:
    return Layer(problems=(Problem(key=CONFIG.name, origin=named_by, value=json.dumps(str(path)), fix=fix),))
