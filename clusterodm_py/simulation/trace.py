"""Traces from CSV files. Every complaint names the line and the column."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.model import Job

_Value: TypeAlias = float | int | str


class BadTrace(Exception):
    """The file cannot be read as a trace; the text says where and why."""


def read_trace(path: Path) -> Sequence[Job]:
    """The tasks of the file, by their arrival. Raises BadTrace."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            jobs = list(_jobs(csv.reader(file, strict=True), path.name))
    except OSError as error:
        raise BadTrace(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTrace(f"{path.name} is no CSV file in UTF-8: {error}") from error
    if not jobs:
        raise BadTrace(f"{path.name} has no tasks: a header line and a line for each task are needed")
    return sorted(jobs, key=lambda job: job.arrival)


def _jobs(lines: Iterator[list[str]], name: str) -> Iterator[Job]:
    columns = _columns(next(lines, []), name)
    for cells in lines:
        number = getattr(lines, "line_num", 0)
        if not cells:
            continue
        if len(cells) != len(columns):
            raise BadTrace(f"{name}, line {number}: it has {len(cells)} columns, the header {len(columns)}")
        values: dict[str, _Value] = {}
        for column, cell in zip(columns, cells, strict=True):
            try:
                values[column] = _COLUMNS[column](cell.strip())
            except ValueError as error:
                raise BadTrace(f"{name}, line {number}, column {column}: {cell!r} is not {error}") from None
        yield _job(number, values)


def _columns(header: list[str], name: str) -> list[str]:
    columns = [column.strip().lower() for column in header]
    known = f"{', '.join(_NEEDED)} are needed, {', '.join(_OPTIONAL)} may be there"
    for number, column in enumerate(columns):
        if column not in _COLUMNS:
            raise BadTrace(f"{name}, line 1: there is no column {header[number]!r}; {known}")
        if column in columns[:number]:
            raise BadTrace(f"{name}, line 1: column {column} is there twice")
    if missing := [column for column in _NEEDED if column not in columns]:
        raise BadTrace(f"{name}, line 1: column {missing[0]} is missing; {known}")
    return columns


def _job(line: int, values: Mapping[str, _Value]) -> Job:
    return Job(
        id=TaskId(f"task-{line:09}"),
        arrival=float(values["arrival"]),
        images=int(values["images"]),
        bytes=int(values["bytes"]),
        work=float(values["seconds"]),
        owner=OwnerId(str(values.get("owner", ""))),
        priority=int(values.get("priority", 0)),
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ValueError("a number of seconds from 0")
    return value


def _whole(least: int, wanted: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(wanted)
        return value

    return parse


_LOWEST: Final = -1_000_000

_NEEDED: Final[Mapping[str, Callable[[str], _Value]]] = MappingProxyType(
    {
        "arrival": _seconds,
        "images": _whole(1, "a whole number from 1"),
        "bytes": _whole(0, "a whole number from 0"),
        "seconds": _seconds,
    }
)
_OPTIONAL: Final[Mapping[str, Callable[[str], _Value]]] = MappingProxyType(
    {"owner": str, "priority": _whole(_LOWEST, "a whole number")}
)
_COLUMNS: Final = MappingProxyType({**_NEEDED, **_OPTIONAL})
