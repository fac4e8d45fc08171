"""The processes of the demo: started on a leash, watched, ended together. Their words go to log files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import clusterodm_py
from clusterodm_py.core.errors import ClusterError
from clusterodm_py.demo import leash as leash_program

_SOURCES: Final = str(Path(clusterodm_py.__file__).parent.parent)
_TAIL: Final = 12
_LOOK_AGAIN: Final = 0.05


class ChildFailed(ClusterError):
    """A process of the demo ended or never got ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process of the demo, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def require_running(self) -> None:
        """Raises ChildFailed."""
        if self.process.poll() is not None:
            raise ChildFailed(f"The {self.name} ended with status {self.process.returncode}.")

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the log matches. Raises ChildFailed when it ends first, or takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found
            self.require_running()
            time.sleep(_LOOK_AGAIN)
        raise ChildFailed(f"The {self.name} was not ready after {seconds:g} seconds.")

    def last_words(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-_TAIL:]

    def ask_to_end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def make_end(self) -> None:
        """End it, and whatever it started, for good."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(leash_program.PATIENCE + 1)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Children:
    """Leaving it ends every child, the last one started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self.all):
            child.ask_to_end()
        for child in reversed(self.all):
            child.make_end()

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start `clusterodm ARGUMENTS`, by this interpreter and from these sources."""
        log = self._folder / f"{name.replace(' ', '-')}.log"
        leash = [sys.executable, "-I", leash_program.__file__]
        with log.open("wb") as words:
            process = subprocess.Popen(  # noqa: S603  the command is ours
                [*leash, sys.executable, "-m", "clusterodm_py", *arguments],
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the demo; it ends its children in good order
            )
        child = Child(name, process, log)
        self.all.append(child)
        return child


def _environment() -> dict[str, str]:
    """Ours, without settings for another cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERODM_")}
    path = [_SOURCES, kept["PYTHONPATH"]] if kept.get("PYTHONPATH") else [_SOURCES]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
