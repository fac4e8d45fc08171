"""`clusterodm demo`: starts the cluster, plays the user with PyODM, tells what happens, and leaves nothing behind."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, NoReturn, TextIO

from pyodm import Node, Task
from pyodm.exceptions import OdmError
from pyodm.types import TaskStatus

from clusterodm_py.core.errors import ClusterError
from clusterodm_py.demo.children import ChildFailed, Children
from clusterodm_py.demo.outcome import BadOutcome, Outcome, unpack
from clusterodm_py.demo.photos import take_photos
from clusterodm_py.demo.progress import Bar

_HOST: Final = "127.0.0.1"
_READY_WITHIN: Final = 30.0
_POLL: Final = 0.5
_FAILED, _INTERRUPTED = 1, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("demo/results"), help="folder for all.zip and the orthophoto"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="how long the nodes pretend to process")
    parser.add_argument("--port", type=int, default=0, help="port of the proxy (default: any free one)")
    parser.add_argument(
        "--admin-cli-port", type=int, default=0, help="port of the console (default: any free one)"
    )
    parser.add_argument(
        "--admin-web-port", type=int, default=0, help="port of the dashboard (default: switched off)"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        default=os.environ.get("KEEP", "") not in ("", "0"),
        help="keep the cluster running until Ctrl-C; KEEP=1 does the same",
    )


def run(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """The whole demo; 0 when an orthophoto came back."""
    out = out or sys.stdout
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)
    with tempfile.TemporaryDirectory(prefix="clusterodm-demo-") as folder, Children(Path(folder)) as children:
        try:
            _play(_Stage(args=args, out=out, folder=Path(folder), children=children))
        except KeyboardInterrupt:
            out.write("\nStopped.\n")
            return _INTERRUPTED
        except (ClusterError, OdmError, OSError) as error:
            _explain(error, children, out)
            return _FAILED
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    args: argparse.Namespace
    out: TextIO
    folder: Path
    children: Children

    def say(self, label: str, text: str) -> None:
        self.out.write(f"{label:<12}{text}\n")
        self.out.flush()


@dataclass(frozen=True, slots=True)
class _Cluster:
    proxy: Node
    nodes: tuple[Node, ...]

    def node_of(self, task: Task) -> str:
        """Which node has the task, asked of the nodes themselves; empty while none has."""
        for node in self.nodes:
            if {"uuid": task.uuid} in node.get("/task/list"):
                return f"on {node.host}:{node.port}"
        return ""


def _play(stage: _Stage) -> None:
    cluster = _started(stage)
    photos = _photos(stage)
    task = _submitted(stage, cluster, photos)
    _processed(stage, cluster, task)
    outcome = _downloaded(stage, task)
    stage.say("Results", str(outcome.archive))
    stage.say("Orthophoto", f"{outcome.tif} ({outcome.size[0]} x {outcome.size[1]} pixels)")
    stage.say("", str(outcome.png))
    if stage.args.keep:
        stage.say("Running", "until Ctrl-C")
        signal.pause()


def _started(stage: _Stage) -> _Cluster:
    nodes = tuple(_start_node(stage, f"node {number}") for number in (1, 2))
    proxy = _start_proxy(stage, nodes)
    stage.say("Nodes", ", ".join(f"{node.host}:{node.port}" for node in nodes))
    return _Cluster(proxy, nodes)


def _start_node(stage: _Stage, name: str) -> Node:
    child = stage.children.start(name, ["simulate-node", "--port", "0", "--seconds", str(stage.args.seconds)])
    found = child.wait_for(r"http://([\d.]+):(\d+)", _READY_WITHIN)
    return Node(found[1], int(found[2]))


def _start_proxy(stage: _Stage, nodes: tuple[Node, ...]) -> Node:
    port = stage.args.port or _free_port()
    console = stage.args.admin_cli_port or _free_port()
    dashboard = stage.args.admin_web_port
    ports = ["--port", port, "--admin-cli-port", console, "--admin-web-port", dashboard]
    members = [word for node in nodes for word in ("--node", f"{node.host}:{node.port}")]
    data = ["--data-dir", stage.folder / "data", "--log-level", "info"]
    child = stage.children.start("proxy", [str(word) for word in (*ports, *data, *members)])
    probe = Node(_HOST, port, timeout=1)
    _wait_until(lambda: _answers(probe), child.require_running)
    stage.say("Proxy", f"http://{_HOST}:{port}")
    stage.say("Console", f"nc {_HOST} {console}")
    if dashboard:
        stage.say("Dashboard", f"http://{_HOST}:{dashboard}")
    return Node(_HOST, port)


def _photos(stage: _Stage) -> list[Path]:
    folder = stage.folder / "photos"
    folder.mkdir()
    photos = take_photos(folder, Random(7))  # noqa: S311  a picture is no secret
    size = sum(photo.stat().st_size for photo in photos) / 1e6
    stage.say("Photos", f"{len(photos)} drawn, {size:.1f} MB, with positions")
    return photos


def _submitted(stage: _Stage, cluster: _Cluster, photos: list[Path]) -> Task:
    bar = Bar("Uploading", stage.out)
    bar.show(0)
    task = cluster.proxy.create_task(
        [str(photo) for photo in photos],
        {"dsm": True, "orthophoto-resolution": 5},
        name="Demo",
        progress_callback=bar.show,
        max_retries=2,
        retry_timeout=1,
    )
    bar.done()
    return task


def _processed(stage: _Stage, cluster: _Cluster, task: Task) -> None:
    """Raises ChildFailed or BadOutcome when the task does not come to a good end."""
    bar = Bar("Processing", stage.out)
    while (info := task.info()).status is not TaskStatus.COMPLETED:
        if info.status in (TaskStatus.FAILED, TaskStatus.CANCELED):
            raise BadOutcome(f"The task ended as {info.status.name.lower()}: {info.last_error}")
        bar.show(info.progress, cluster.node_of(task) or "waiting for a node")
        for child in stage.children.all:
            child.require_running()
        time.sleep(_POLL)
    bar.done(cluster.node_of(task))


def _downloaded(stage: _Stage, task: Task) -> Outcome:
    bar = Bar("Downloading", stage.out)
    results: Path = stage.args.results
    results.mkdir(parents=True, exist_ok=True)
    fresh = Path(task.download_zip(str(stage.folder), progress_callback=bar.show))
    bar.done()
    archive = results / "all.zip"
    shutil.move(fresh, archive)
    return unpack(archive)


def _answers(node: Node) -> bool:
    """Whether the proxy serves, and knows a node that does."""
    try:
        return node.info().engine not in (None, "?")
    except OdmError:
        return False


def _wait_until(ready: Callable[[], bool], check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not ready():
        check()
        if time.monotonic() > deadline:
            raise ChildFailed(f"The proxy was not ready after {_READY_WITHIN:g} seconds.")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _explain(error: Exception, children: Children, out: TextIO) -> None:
    """The error, and what each process said last."""
    out.write(f"\nThe demo failed: {error}\n")
    for child in children.all:
        out.write(f"\nLast words of the {child.name}:\n")
        out.writelines(f"  {line}\n" for line in child.last_words())
