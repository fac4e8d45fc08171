"""Runs a command that must not outlive whoever started it: `python leash.py COMMAND...`; imports nothing of ours.

The starter keeps our standard input open. When it ends, however it ends, the kernel closes it, and we end the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Final

_STDIN: Final = 0

PATIENCE: Final = 5.0
"""Seconds between asking the command to end and making it."""


def main(command: Sequence[str]) -> int:
    """Run `command` until it ends, or our standard input does; its exit status."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:  # noqa: S603  who starts us is trusted
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        Thread(target=_hold, args=(child,), daemon=True).start()
        return child.wait()


def _hold(child: subprocess.Popen[bytes]) -> None:
    while os.read(_STDIN, 1):  # sys.stdin would hold a lock that the interpreter wants when it ends
        pass
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
        return
    child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
