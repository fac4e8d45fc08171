"""`make bench`: the proxy beside the same node asked directly and beside nginx, within one run; medians and ratios."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import load
import servers
from decisions import decisions
from handing_over import handing_over
from makespan import makespan
from many import many
from table import medians, row

GB = 1 << 30
MB = 1 << 20


def finished_task(proxy_port: int, count: int = 1) -> list[str]:
    """Tasks that went through the proxy and ended."""
    tasks = []
    for _ in range(count):
        task = load.begin(proxy_port)
        load.send_file(proxy_port, task, "a.jpg", 100_000)
        load.post(proxy_port, f"/task/new/commit/{task}")
        tasks.append(task)
    deadline = time.monotonic() + 60
    for task in tasks:
        while load_status(proxy_port, task) != 40:
            if time.monotonic() > deadline:
                raise RuntimeError("the node does not finish")
            time.sleep(0.1)
    return tasks


def load_status(port: int, task: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/task/{task}/info")
    code: int = json.loads(connection.getresponse().read())["status"]["code"]
    connection.close()
    return code


def request_rates(rounds: int, direct: int, proxy: int, nginx: int, tasks: list[str]) -> None:
    script = _many_tasks(tasks)
    for what, path, lua in (
        ("/info", "/info", None),
        ("task info, one task", f"/task/{tasks[0]}/info", None),
        (f"task info, {len(tasks)} tasks in turn", "/", script),
    ):
        found: dict[str, list[load.Rate]] = {"direct": [], "proxy": [], "nginx": []}
        for _ in range(rounds):
            for name, port in (("direct", direct), ("proxy", proxy), ("nginx", nginx)):
                found[name].append(load.requests(port, path, script=lua))
        rate = {name: statistics.median(one.per_second for one in rates) for name, rates in found.items()}
        p99 = {name: statistics.median(one.p99_ms for one in rates) for name, rates in found.items()}
        row(
            f"{what}: requests/s (p99 ms)",
            *(f"{rate[name]:,.0f} ({p99[name]:.1f})" for name in ("direct", "proxy", "nginx")),
            f"{rate['proxy'] / rate['direct']:.2f}",
            f"{rate['proxy'] / rate['nginx']:.2f}",
        )


def _many_tasks(tasks: list[str]) -> Path:
    """A wrk script that asks for each task in turn, so that no two requests under way are alike."""
    names = ",".join(f'"{task}"' for task in tasks)
    script = Path(tempfile.gettempdir()) / f"bench-{os.getpid()}.lua"
    script.write_text(
        f"local t = {{{names}}}\nlocal i = 0\n"
        'request = function() i = i + 1 return wrk.format("GET", "/task/" .. t[i % #t + 1] .. "/info") end\n'
    )
    return script


def downloads(rounds: int, direct: int, proxy: int, nginx: int, task: str) -> None:
    path = f"/task/{task}/download/all.zip"
    load.download(direct, path)  # into the page cache
    seconds = medians(
        rounds, *(lambda port=port: load.download(port, path) for port in (direct, proxy, nginx))
    )
    row(
        "download of 1 GB: MB/s",
        *(f"{1000 / one:,.0f}" for one in seconds),
        f"{seconds[0] / seconds[1]:.2f}",
        f"{seconds[2] / seconds[1]:.2f}",
    )


def uploads(rounds: int, direct: int, proxy: int, nginx: int) -> None:
    files, size = 100, 5 * MB
    seconds = medians(
        rounds,
        lambda: load.upload(direct, load.begin_at_node(direct), files, size),
        lambda: load.upload(proxy, load.begin(proxy), files, size),
        lambda: load.upload(nginx, load.begin_at_node(nginx), files, size),
    )
    row(
        "upload of 500 MB in 100 files, until the commit is answered: s",
        *(f"{one:.2f}" for one in seconds),
        f"{seconds[0] / seconds[1]:.2f}",
        f"{seconds[2] / seconds[1]:.2f}",
    )


def memory(folder: Path, node: int) -> None:
    for size in (20 * MB, 60 * MB):
        with servers.proxy(folder, node) as (port, pid):
            idle = load.peak_memory(pid)
            load.crowd(port, 100, size)
            row(
                f"peak memory, 100 clients uploading {size // MB} MB each: MB",
                "",
                f"{load.peak_memory(pid):.0f} (idle {idle:.0f})",
                "",
                "",
                "",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each kind; the median is shown"
    )
    rounds = parser.parse_args().rounds
    sys.stdout.write(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n\n")
    row("", "node asked directly", "through the proxy", "through nginx", "proxy / direct", "proxy / nginx")
    row("---", *["---"] * 5)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        node = stack.enter_context(servers.node(folder, "--seconds", "0.1", "--slots", "64"))
        proxy, _ = stack.enter_context(servers.proxy(folder, node))
        nginx = stack.enter_context(servers.nginx(folder, node))
        request_rates(rounds, node, proxy, nginx, finished_task(proxy, 64))
        big = stack.enter_context(servers.node(folder, "--seconds", "0.1", "--result-size", str(GB)))
        big_proxy, _ = stack.enter_context(servers.proxy(folder, big))
        big_nginx = stack.enter_context(servers.nginx(folder, big))
        downloads(rounds, big, big_proxy, big_nginx, finished_task(big_proxy)[0])
        uploads(rounds, node, proxy, nginx)
        memory(folder, node)
        handing_over(rounds, folder)
        many(folder)
        decisions(rounds)
        makespan(folder)


if __name__ == "__main__":
    main()
