"""A short form of `make chaos`: everything is killed now and then, and nothing is lost."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from harness.node_process import NodeProcess
from harness.proxy import ProxyProcess
from harness.storm import Plan, Storm

PLAN = Plan(tasks=24, clients=8, proxy_kills=4, node_kills=2, hangs=1, cuts=3, span=8.0, calm=60.0)


async def test_nothing_is_lost_or_done_twice_while_everything_is_killed(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                NodeProcess(tmp_path / f"node-{number}", ("--seconds", "0.3", "--slots", "2"))
            )
            for number in range(3)
        ]
        proxy = ProxyProcess(
            tmp_path / "data",
            nodes=tuple(node.address for node in nodes),
            flags=("--poll-interval", "0.5", "--failover-after", "3"),
        )
        await stack.enter_async_context(proxy)
        storm = Storm(proxy, nodes, PLAN, 1, tmp_path / "data" / "spool")
        assert await storm.run() == [], proxy.log[-5000:]
        assert len(storm.committed) == PLAN.tasks
