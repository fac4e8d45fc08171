"""`make chaos`: minutes of storm over the real programs; exit status 1 when anything was lost or done twice."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from harness.node_process import NodeProcess
from harness.proxy import ProxyProcess
from harness.storm import Plan, Storm

MB = 1 << 20

NODES = (
    ("--seconds", "0.5", "--slots", "2", "--fail-uploads", "0.05"),
    ("--seconds", "1", "--slots", "2"),
    ("--seconds", "2", "--slots", "1"),
    ("--seconds", "0.2", "--slots", "1", "--max-images", "6"),
    ("--seconds", "1", "--slots", "3", "--fail-uploads-with", "error", "--fail-uploads", "0.05"),
)


async def storm(plan: Plan, seed: int, folder: Path, spool: Path) -> list[str]:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(NodeProcess(folder / f"node-{number}", flags))
            for number, flags in enumerate(NODES)
        ]
        proxy = ProxyProcess(
            folder / "data",
            nodes=tuple(node.address for node in nodes),
            flags=(
                *("--poll-interval", "0.5", "--failover-after", "4", "--dispatch-retries", "50"),
                *("--spool-dir", str(spool), "--spool-free-floor", "0"),
            ),
        )
        await stack.enter_async_context(proxy)
        weather = Storm(proxy, nodes, plan, seed, spool)
        began = time.monotonic()
        problems = await weather.run()
        sys.stdout.write(
            f"seed {seed}: {len(weather.committed)} of {plan.tasks} tasks committed and done;"
            f" {weather.refused} uploads refused for room, {weather.given_up} tasks lost as they had made room;"
            f" {plan.proxy_kills} kills of the proxy and {plan.node_kills} of nodes, {plan.hangs} hangs,"
            f" {plan.cuts} cuts; {len(problems)} problems; {time.monotonic() - began:.0f} s\n"
        )
        if problems:
            Path("chaos.log").write_text(proxy.log)
        return problems


def small_disk(folder: Path, size: int) -> bool:
    """Whether `folder` is now a disk of its own of `size` bytes, which takes root."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "clusterodm-chaos", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    problems: list[str] = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            spool = folder / "spool"
            full = small_disk(spool, 14 * MB)
            try:
                plan = Plan(tasks=arguments.tasks, large=9 * MB if full else 0)
                problems += asyncio.run(storm(plan, seed, folder, spool))
            finally:
                if full:
                    subprocess.run(["umount", "-l", str(spool)], check=False)
            if not full:
                sys.stdout.write("the disk could not be made full: that needs root\n")
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
