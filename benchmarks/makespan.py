"""40 heavy-tailed tasks on six nodes of unequal speed, committed at once: how long until all are done."""

from __future__ import annotations

import http.client
import json
import random
import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import load
import servers
from table import row

SPEEDS = (0.5, 0.7, 1.0, 1.3, 1.6, 2.0)
TASKS, SEEDS = 40, 5
PER_IMAGE = 0.1
"""Seconds an image takes at speed 1: tasks of seconds stand for tasks of hours."""


def sizes(seed: int) -> list[int]:
    """Images of the tasks: most are small, a few are as large as all others together."""
    chance = random.Random(seed)
    return [min(100, int(4 * chance.paretovariate(1.1))) for _ in range(TASKS)]


def bound(images: list[int]) -> float:
    """No schedule, not even one that moves tasks while they run, is faster than this (uniform machines)."""
    works = sorted((count * PER_IMAGE for count in images), reverse=True)
    speeds = sorted(SPEEDS, reverse=True)
    heads = (sum(works[:count]) / sum(speeds[:count]) for count in range(1, len(speeds)))
    return max(*heads, sum(works) / sum(speeds))


def committed_at_once(proxy: int, images: list[int]) -> float:
    """Seconds from the first commit until every task is done."""
    tasks = []
    for count in images:
        task = load.begin(proxy)
        for number in range(count):
            load.send_file(proxy, task, f"{number}.jpg", 10)
        tasks.append(task)
    began = time.perf_counter()
    commits = [threading.Thread(target=load.post, args=(proxy, f"/task/new/commit/{task}")) for task in tasks]
    for commit in commits:
        commit.start()
    for commit in commits:
        commit.join()
    for task in tasks:
        while status(proxy, task) < 30:
            time.sleep(0.05)
    return time.perf_counter() - began


def status(proxy: int, task: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", proxy)
    connection.request("GET", f"/task/{task}/info")
    code: int = json.loads(connection.getresponse().read())["status"]["code"]
    connection.close()
    return code


def makespan(folder: Path) -> None:
    ratios = {queue: measured(folder, queue) for queue in ("node", "cluster")}
    row(
        "40 heavy-tailed tasks on 6 unequal nodes: makespan / preemptive bound, mean of 5 seeds",
        "",
        f"{statistics.mean(ratios['cluster']):.2f} (eager push: {statistics.mean(ratios['node']):.2f})",
        "",
        "",
        "",
    )


def measured(folder: Path, queue: str) -> list[float]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                servers.node(
                    folder,
                    "--slots",
                    "1",
                    "--seconds",
                    "0",
                    "--seconds-per-image",
                    str(PER_IMAGE),
                    "--speed",
                    str(speed),
                )
            )
            for speed in SPEEDS
        ]
        flags = [part for node in nodes[1:] for part in ("--node", f"127.0.0.1:{node}")]
        proxy, _ = stack.enter_context(
            servers.proxy(
                folder, nodes[0], "--queue", queue, "--poll-interval", "0.2", "--no-pipeline", *flags
            )
        )
        return [committed_at_once(proxy, sizes(seed)) / bound(sizes(seed)) for seed in range(SEEDS)]
