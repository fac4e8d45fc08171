"""Figures as people and as scripts read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from clusterodm_py.simulation.records import Figures

_HOURS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a simulation found."""

    title: str
    machines: int
    slots: int
    seed: int
    runs: int
    policies: Mapping[str, Figures]
    """By the name that `--policy` takes."""
    titles: Mapping[str, str]


def as_json(report: Report) -> str:
    """Times in seconds; a figure that does not exist is null."""
    return json.dumps(asdict(report) | {"policies": _figures(report)}, indent=2) + "\n"


def as_table(report: Report) -> str:
    figures = list(report.policies.values())
    columns = [column for column in _COLUMNS if any(column.cell(each) for each in figures)]
    rows = [["", *(column.title for column in columns)]]
    for name, each in report.policies.items():
        rows.append([report.titles[name], *(column.cell(each) for column in columns)])
    return f"{_heading(report)}\n\n{_aligned(rows)}{_notes(report)}"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Figures], str]
    """Empty where the figure does not exist; a column of nothing else is left out."""


def duration(seconds: float) -> str:
    """In the unit that leaves two or three digits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOURS:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOURS:.1f} h" if seconds < 200 * _HOURS else f"{seconds / _HOURS / 24:.1f} d"


_COLUMNS: Final = (
    _Column("makespan", lambda each: duration(each.makespan)),
    _Column("/ bound", lambda each: f"{each.over_bound:.2f}" if each.over_bound else ""),
    _Column("wait: median", lambda each: duration(each.wait_median)),
    _Column("p95", lambda each: duration(each.wait_p95)),
    _Column("max", lambda each: duration(each.wait_max)),
    _Column("lone tasks' p95", lambda each: "" if each.lone_p95 is None else duration(each.lone_p95)),
    _Column("busy", lambda each: f"{100 * each.utilisation:.0f} %"),
    _Column("machine hours", lambda each: f"{each.machine_hours:,.0f}"),
    _Column("cost", lambda each: f"{each.cost:,.2f}" if each.cost else ""),
)


def _heading(report: Report) -> str:
    runs = f"mean of {report.runs} runs" if report.runs > 1 else f"seed {report.seed}"
    tasks = max(each.tasks + each.unplaced for each in report.policies.values())
    return f"{report.title}\n{tasks:,.0f} tasks, {report.machines:,} machines, {report.slots:,} slots; {runs}"


def _notes(report: Report) -> str:
    never = {name: each.unplaced for name, each in report.policies.items() if each.unplaced}
    return "".join(
        f"\n{report.titles[name]}: no node takes {count:,.0f} of the tasks\n" for name, count in never.items()
    )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _figures(report: Report) -> dict[str, dict[str, object]]:
    return {name: {"title": report.titles[name]} | asdict(each) for name, each in report.policies.items()}
