"""From a client's first byte to a task that runs on a node: how long, and what it costs the proxy."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
from pathlib import Path

import load
import servers
from table import medians, row

MB = 1 << 20
FILES, SIZE = 100, 5 * MB
CLIENT = 50_000_000
"""Bytes per second of a client on a good line."""


def known(node: int, task: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", node)
    connection.request("GET", f"/task/{task}/info")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return "error" not in answer


def until_running(proxy: int, node: int, pace: float = 0.0) -> tuple[float, float]:
    """Seconds from the first byte, and from the answer to the commit, until the node has the task."""
    task = load.begin(proxy)
    took = load.upload(proxy, task, FILES, SIZE, pace=pace)
    committed = time.perf_counter()
    while not known(node, task):
        time.sleep(0.002)
    after = time.perf_counter() - committed
    return took + after, after


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def handing_over(rounds: int, folder: Path) -> None:
    _measured(rounds, folder, "loopback", 0.0)
    _measured(rounds, folder, "a client held to 50 MB/s", float(CLIENT))


def _measured(rounds: int, folder: Path, what: str, pace: float) -> None:
    with (
        servers.node(folder, "--seconds", "0.1", "--slots", "64") as node,
        servers.proxy(folder, node) as (proxy, pid),
        servers.nginx(folder, node) as nginx,
    ):
        afters: list[float] = []

        def through() -> float:
            whole, after = until_running(proxy, node, pace)
            afters.append(after)
            return whole

        def directly() -> float:
            return load.upload(node, load.begin_at_node(node), FILES, SIZE, pace=pace)

        def through_nginx() -> float:
            return load.upload(nginx, load.begin_at_node(nginx), FILES, SIZE, pace=pace)

        used = cpu_seconds(pid)
        direct, ours, its = medians(rounds, directly, through, through_nginx)
        used = (cpu_seconds(pid) - used) / (rounds * FILES * SIZE / 1e9)
    first = f"first byte to running, 500 MB in 100 files, {what}: s"
    row(first, f"{direct:.2f}", f"{ours:.2f}", f"{its:.2f}", f"{ours / direct:.2f}", f"{ours / its:.2f}")
    waited = 1000 * statistics.median(afters)
    row(f"... of it after the commit was answered, {what}: ms", "", f"{waited:.0f}", "", "", "")
    row(f"... the proxy's CPU per GB received and passed on, {what}: s", "", f"{used:.2f}", "", "", "")
