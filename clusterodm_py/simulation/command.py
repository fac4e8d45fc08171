"""Replays a trace of tasks, or a built-in scenario, on a cluster that exists in numbers only.

The queue and the placement are the real ones, the clock is virtual. Without --policy it prints the policies beside
each other: what ClusterODM does, first in first out, and then each rule of ours added to those before.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final, TextIO

from clusterodm_py.simulation.cluster import Cluster
from clusterodm_py.simulation.model import Machine, Wires
from clusterodm_py.simulation.policies import POLICIES, Policy
from clusterodm_py.simulation.records import Figures, lower_bound
from clusterodm_py.simulation.report import Report, as_json, as_table
from clusterodm_py.simulation.scenarios import SCENARIOS, Scenario
from clusterodm_py.simulation.trace import BadTrace, read_trace

_MISUSED: Final = 2
_MEGABYTE: Final = 1e6
_PATIENCE: Final = 2.0
"""Seconds after which it tells how far it is, and between two such lines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace",
        type=Path,
        nargs="?",
        help="CSV with a header line: arrival (seconds), images, bytes, seconds (of processing at speed 1), "
        "and, if wanted, owner and priority",
    )
    parser.add_argument("--scenario", choices=SCENARIOS, help="a built-in trace, with machines of its own")
    parser.add_argument("--policy", choices=POLICIES, help="only this one")
    parser.add_argument("--nodes", type=_whole, help="machines (default: as many as the lists below say)")
    parser.add_argument(
        "--speeds",
        type=_list(_positive),
        metavar="A,B,…",
        help="relative speeds, given to the machines in turn",
    )
    parser.add_argument("--slots", type=_list(_whole), metavar="A,B,…", help="tasks at a time, in turn")
    parser.add_argument(
        "--max-images", type=_list(_limit), metavar="A,B,…", help="image limits, in turn; 0: none"
    )
    parser.add_argument("--price", type=_list(_amount), metavar="A,B,…", help="of a machine's hour, in turn")
    parser.add_argument(
        "--upload-speed", type=_positive, metavar="MB/S", help="of a client's upload (default: 12.5)"
    )
    parser.add_argument(
        "--cluster-speed", type=_positive, metavar="MB/S", help="of an upload between machines (default: 100)"
    )
    parser.add_argument(
        "--window",
        type=_amount,
        metavar="SECONDS",
        help="within which an owner's larger tasks go first (600)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of a scenario (default: 1)")
    parser.add_argument("--runs", type=_whole, help="with seeds that follow each other; their mean is shown")
    parser.add_argument("--json", action="store_true", help="for scripts; times in seconds")


def run(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """0 when it was simulated, 2 when there is nothing that could be."""
    out = out or sys.stdout
    try:
        report = _simulated(_scenario(args), args)
    except BadTrace as error:
        sys.stderr.write(f"{error}\n")
        return _MISUSED
    out.write(as_json(report) if args.json else as_table(report))
    return 0


def _scenario(args: argparse.Namespace) -> Scenario:
    """What the flags say of machines and wires comes before what the scenario has. Raises BadTrace."""
    if (args.trace is None) == (args.scenario is None):
        raise BadTrace(f"name a trace or a --scenario, one of them: {', '.join(SCENARIOS)}")
    if args.trace is None:
        found = SCENARIOS[args.scenario]
    else:
        jobs = read_trace(args.trace)
        found = Scenario(title=args.trace.name, machines=(Machine(),), jobs=lambda _: jobs)
    return replace(
        found,
        machines=_machines(args, found.machines),
        wires=Wires(
            client=args.upload_speed * _MEGABYTE if args.upload_speed else found.wires.client,
            cluster=args.cluster_speed * _MEGABYTE if args.cluster_speed else found.wires.cluster,
        ),
        runs=args.runs or found.runs,
    )


def _machines(args: argparse.Namespace, usual: Sequence[Machine]) -> tuple[Machine, ...]:
    given = {"speed": args.speeds, "slots": args.slots, "max_images": args.max_images, "price": args.price}
    lists = {name: values for name, values in given.items() if values}
    count = args.nodes or max(len(usual), *map(len, lists.values()), 1)
    return tuple(
        replace(
            usual[number % len(usual)], **{name: each[number % len(each)] for name, each in lists.items()}
        )
        for number in range(count)
    )


def _simulated(scenario: Scenario, args: argparse.Namespace) -> Report:
    chosen = {
        name: _windowed(each, args.window) for name, each in POLICIES.items() if args.policy in (None, name)
    }
    found: dict[str, list[Figures]] = {name: [] for name in chosen}
    progress = _Progress(sys.stderr, time.monotonic)
    for seed in range(args.seed, args.seed + scenario.runs):
        jobs = scenario.jobs(Random(seed))  # noqa: S311  nothing here is secret
        bound = lower_bound(jobs, scenario.machines)
        for name, policy in chosen.items():
            cluster = Cluster(scenario.machines, policy, scenario.wires)
            records = cluster.run(jobs, progress.of(name, len(jobs)))
            found[name].append(Figures.of(records, scenario.machines, bound))
    return Report(
        title=scenario.title,
        machines=len(scenario.machines),
        slots=sum(machine.slots for machine in scenario.machines),
        seed=args.seed,
        runs=scenario.runs,
        policies={name: Figures.mean(runs) for name, runs in found.items()},
        titles={name: policy.title for name, policy in chosen.items()},
    )


def _windowed(policy: Policy, window: float | None) -> Policy:
    if window is None or not policy.rules.window:
        return policy
    return replace(policy, rules=replace(policy.rules, window=window))


class _Progress:
    """A line now and then, on a run that takes long."""

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        self._out = out
        self._clock = clock
        self._told = clock()

    def of(self, policy: str, total: int) -> Callable[[int], None]:
        def tell(arrived: int) -> None:
            if arrived % 1024 == 0 and self._clock() > self._told + _PATIENCE:
                self._told = self._clock()
                self._out.write(f"{policy}: {arrived:,} of {total:,} tasks\n")
                self._out.flush()

        return tell


def _list(parse: Callable[[str], float | None]) -> Callable[[str], list[float | None]]:
    def each(text: str) -> list[float | None]:
        return [parse(part.strip()) for part in text.split(",")]

    return each


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _amount(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is below 0")
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _limit(text: str) -> int | None:
    return None if text == "0" else _whole(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value
