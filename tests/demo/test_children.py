from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusterodm_py.demo.children import ChildFailed, Children

NODE = ["simulate-node", "--port", "0"]
ADDRESS = r"http://([\d.]+):(\d+)"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pid: int) -> bool:
    deadline = time.monotonic() + 15
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_leaving_ends_the_children_in_good_order(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("node 1", NODE)
        child.wait_for(ADDRESS, 20)
        child.require_running()
    assert child.process.returncode == 0
    assert (tmp_path / "node-1.log").exists()


def test_a_child_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("node 1", [*NODE, "--slots", "0"])
        with pytest.raises(ChildFailed, match="node 1 ended with status 1"):
            child.wait_for(ADDRESS, 20)
        assert "cannot start" in child.last_words()[-1]


def test_a_child_that_gets_never_ready_is_told(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("node 1", NODE)
        with pytest.raises(ChildFailed, match="not ready"):
            child.wait_for("never said", 0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_whoever_started_it(tmp_path: Path, number: signal.Signals) -> None:
    """The starter is killed; the leash and the command at its end must go."""
    starter = (
        "import sys, time; from pathlib import Path; from clusterodm_py.demo.children import Children\n"
        "children = Children(Path(sys.argv[1])); child = children.start('node', ['simulate-node', '--port', '0'])\n"
        "child.wait_for('http://', 20); print(child.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        leash = int(process.stdout.readline())
        node = int(Path(f"/proc/{leash}/task/{leash}/children").read_text())
        process.send_signal(number)
        process.wait(10)
    assert wait_for_end(node)
    assert wait_for_end(leash)
