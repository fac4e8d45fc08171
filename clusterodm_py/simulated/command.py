"""`clusterodm simulate-node`: a simulated node as a program of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Final, TextIO

from clusterodm_py.core.errors import ClusterError
from clusterodm_py.simulated.behaviour import FAILURE_FORMS, Behaviour
from clusterodm_py.simulated.node import SimulatedNode

_DEFAULT: Final = Behaviour()

_NUMBERS: Final = (
    ("--slots", int, "tasks processed at the same time"),
    ("--max-images", int, "refuse tasks with more images than this (default: no limit)"),
    ("--seconds", float, "processing time of a task"),
    ("--seconds-per-image", float, "processing time added by every image"),
    ("--speed", float, "divide processing times by this"),
    ("--init-seconds", float, "how long a task is initialised before it is queued"),
    ("--result-size", int, "pad all.zip up to this many bytes"),
    ("--seed", int, "what chances are drawn from"),
)

_TEXTS: Final = (
    ("--token", "require this token"),
    ("--version", "API version to claim"),
    ("--engine", "engine to claim"),
    ("--engine-version", "engine version to claim"),
    ("--webhook", "URL told of the end of every task"),
)

_FAULTS: Final = (
    ("--fail-tasks", float, "share of tasks that fail (below 1), or every n-th"),
    ("--fail-uploads", float, "share of uploads that fail (below 1), or the first n"),
    ("--cut-uploads", int, "break the connection in the middle of the first n uploads"),
    ("--stall-uploads", float, "stop reading every upload in its middle for so many seconds"),
    ("--lose-commit-replies", int, "take the first n commits without answering"),
    ("--offline-after", float, "stop listening after so many seconds"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The switches of this command; every one but host and port is a field of `Behaviour`."""
    parser.add_argument("--port", type=int, default=3001, help="port to listen on, 0 for any (default: 3001)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--work-dir", type=Path, help="keep files, and tasks over a restart, in this folder")
    for flag, help_text in _TEXTS:
        parser.add_argument(flag, default=_default(flag), help=_with_default(flag, help_text))
    for flag, kind, help_text in _NUMBERS:
        parser.add_argument(flag, type=kind, default=_default(flag), help=_with_default(flag, help_text))
    faults = parser.add_argument_group("faults", "None happens unless asked for.")
    for flag, kind, help_text in _FAULTS:
        faults.add_argument(flag, type=kind, default=_default(flag), help=help_text)
    faults.add_argument(
        "--fail-uploads-with",
        choices=FAILURE_FORMS,
        default=_DEFAULT.fail_uploads_with,
        help="fail uploads with HTTP 500, or with an error in the JSON",
    )
    faults.add_argument("--hang-info", action="store_true", help="never answer /info")
    faults.add_argument("--forget-tasks", action="store_true", help="know no task after a restart")


def run(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. `out` is told the address once it listens."""
    given = vars(args)
    try:
        behaviour = Behaviour(**{name: given[name] for name in _switches() if name in given})
        return asyncio.run(_serve(behaviour, args.host, args.port, out or sys.stdout))
    except (OSError, ClusterError) as error:
        sys.stderr.write(f"The simulated node cannot start: {error}\n")
        return 1


async def _serve(behaviour: Behaviour, host: str, port: int, out: TextIO) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt there
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with SimulatedNode(behaviour, host=host, port=port) as node:
        out.write(f"Simulated node: {node.url} ({behaviour.slots} slots, {behaviour.seconds:g} s per task)\n")
        out.flush()
        await stop.wait()
    return 0


def _switches() -> list[str]:
    return [switch.name for switch in fields(Behaviour)]


def _default(flag: str) -> object:
    return getattr(_DEFAULT, flag.removeprefix("--").replace("-", "_"))


def _with_default(flag: str, text: str) -> str:
    return text if _default(flag) in (None, "", 0) else f"{text} (default: %(default)s)"
