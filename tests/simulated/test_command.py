from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from urllib.request import urlopen

from clusterodm_py.simulated import Behaviour
from clusterodm_py.simulated.command import add_arguments

PROGRAM = (
    "import argparse, sys; from clusterodm_py.simulated.command import add_arguments, run\n"
    "parser = argparse.ArgumentParser(); add_arguments(parser); sys.exit(run(parser.parse_args()))"
)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_every_behaviour_has_its_switch_and_the_same_default() -> None:
    given = vars(parsed())
    for switch in fields(Behaviour):
        if switch.name != "webhook_pause":
            assert given[switch.name] == getattr(Behaviour(), switch.name), switch.name


def test_it_prints_its_address_serves_and_ends_cleanly_on_sigterm() -> None:
    with started("--port", "0", "--slots", "5", "--token", "x") as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        with urlopen(f"{found[0]}/info?token=x") as answer:
            assert b'"maxParallelTasks": 5' in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_taken_port_and_a_senseless_switch_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words in (("--port", port), ("--port", "0", "--slots", "0")):
            with started(*words) as process:
                assert process.wait(10) == 1
                assert process.stderr is not None
                assert "cannot start" in process.stderr.read()
