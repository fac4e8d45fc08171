"""The `clusterodm` command: picks the subcommand and tells its outcome. The only module that prints."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from clusterodm_py import __version__
from clusterodm_py.config import ConfigError, Loaded, effective_json, load
from clusterodm_py.healthcheck import complaint
from clusterodm_py.logs import start_logging

logger = logging.getLogger(__name__)

Command: TypeAlias = Callable[[Sequence[str]], int]

_MISUSED: Final = 2
_EXTRAS: Final = frozenset({"PIL", "numpy", "pyodm"})
"""Top-level modules that come with `clusterodm-py[demo]`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `clusterodm [command] [flags]`; the exit status: 0 good, 1 failed, 2 misused."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = "serve"
    if arguments and not arguments[0].startswith("-"):
        command = arguments.pop(0)
    elif arguments[:1] == ["--version"]:
        command = "version"
    if command not in COMMANDS:
        return _unknown_command(command)
    return run(command, COMMANDS[command], arguments)


def run(name: str, command: Command, arguments: Sequence[str]) -> int:
    """The exit status of `command`; what its configuration or installation lacks is told with the fix."""
    try:
        return command(arguments)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _MISUSED
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRAS:
            raise
        sys.stderr.write(f"clusterodm {name} needs {error.name}: pip install 'clusterodm-py[demo]'\n")
        return 1


def _unknown_command(name: str) -> int:
    nearest = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(COMMANDS)}"
    sys.stderr.write(f"clusterodm has no command {name!r}; {hint}\n")
    return _MISUSED


def _load(arguments: Sequence[str]) -> Loaded:
    return load(arguments, os.environ, Path.cwd())


def _serve(arguments: Sequence[str]) -> int:
    loaded = _load(arguments)
    start_logging(loaded.config.threshold)
    for notice in loaded.notices:
        logger.warning("%s", notice)
    status: int = import_module("clusterodm_py.app").serve(loaded.config)
    return status


def _check_config(arguments: Sequence[str]) -> int:
    loaded = _load(arguments)
    sys.stdout.write(effective_json(loaded))
    for notice in loaded.notices:
        sys.stderr.write(f"note: {notice}\n")
    return 0


def _healthcheck(arguments: Sequence[str]) -> int:
    problem = complaint(_load(arguments).config)
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


def _version(arguments: Sequence[str]) -> int:
    sys.stdout.write(f"clusterodm-py {__version__}\n")
    return 0


def _program(name: str, module: str) -> Command:
    """A subcommand with flags of its own: `add_arguments(parser)` and `run(args) -> int` of `module`."""

    def run(arguments: Sequence[str]) -> int:
        program = import_module(module)
        parser = argparse.ArgumentParser(prog=f"clusterodm {name}", description=program.__doc__)
        program.add_arguments(parser)
        args = parser.parse_args(arguments)
        start_logging(logging.INFO)
        status: int = program.run(args)
        return status

    return run


COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "serve": _serve,
        "check-config": _check_config,
        "healthcheck": _healthcheck,
        "simulate-node": _program("simulate-node", "clusterodm_py.simulated.command"),
        "demo": _program("demo", "clusterodm_py.demo"),
        "simulate": _program("simulate", "clusterodm_py.simulation.command"),
        "version": _version,
    }
)
"""What each command runs. Modules are imported when asked for, so that a missing extra breaks one command only."""
