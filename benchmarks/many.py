"""What a cluster of a thousand nodes costs at a commit, and a list of ten thousand tasks."""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import time
from pathlib import Path
from uuid import uuid4

import load
import servers
from handing_over import cpu_seconds
from table import row

from clusterodm_py.core.types import NOBODY, Task, TaskId, TaskRequest, TaskState
from clusterodm_py.store.sqlite import SqliteStore

COMMITS = 40
LISTED = 10_000


def commits(folder: Path, count: int) -> tuple[float, float]:
    """Median milliseconds of a commit, and of the proxy's CPU per task from init to node, with so many nodes."""
    with servers.node(folder, "--host", "0.0.0.0", "--seconds", "0", "--slots", "9999") as port:
        hosts = [f"127.1.{number // 250}.{number % 250 + 1}:{port}" for number in range(count - 1)]
        flags = [part for host in hosts for part in ("--node", host)]
        with servers.proxy(folder, port, "--poll-interval", "3600", *flags) as (proxy, pid):
            time.sleep(3)  # the first look at a thousand nodes
            used, seconds = cpu_seconds(pid), []
            for _ in range(COMMITS):
                task = load.begin(proxy)
                load.send_file(proxy, task, "a.jpg", 1000)
                began = time.perf_counter()
                load.post(proxy, f"/task/new/commit/{task}")
                seconds.append(time.perf_counter() - began)
            time.sleep(1)
            return 1000 * statistics.median(seconds), 1000 * (cpu_seconds(pid) - used) / COMMITS


async def fill(data: Path) -> None:
    async with SqliteStore(data / "clusterodm.db", clock=time.time) as store:
        for _ in range(LISTED):
            await store.tasks.create(
                Task(
                    id=TaskId(str(uuid4())),
                    owner=NOBODY,
                    state=TaskState.FINISHED,
                    request=TaskRequest(),
                    created=time.time(),
                    accessed=time.time(),
                    committed=time.time(),
                )
            )


def listing(folder: Path) -> float:
    """Median milliseconds of `/task/list` with ten thousand tasks, while no node answers."""
    port = servers.free_port()
    data = folder / f"data-{port}"
    data.mkdir()
    asyncio.run(fill(data))
    with servers.proxy(folder, 1, "--port", str(port), "--data-dir", str(data), port=port):
        seconds = []
        for _ in range(11):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/task/list")
            assert len(json.loads(connection.getresponse().read())) == LISTED
            connection.close()
            seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def many(folder: Path) -> None:
    found = {count: commits(folder, count) for count in (3, 1000)}
    for number, what in enumerate(
        ("a commit, until it is answered", "the proxy's CPU for a small task, init to node")
    ):
        few, thousand = found[3][number], found[1000][number]
        row(f"{what}, with 3 and with 1,000 nodes: ms", "", f"{few:.1f} and {thousand:.1f}", "", "", "")
    row(
        "/task/list of 10,000 tasks, read and parsed by the client: ms",
        "",
        f"{listing(folder):.0f}",
        "",
        "",
        "",
    )
