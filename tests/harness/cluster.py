"""A proxy over simulated nodes, and waiting for what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess


@asynccontextmanager
async def cluster(
    folder: Path, *behaviours: Behaviour, flags: tuple[str, ...] = ()
) -> AsyncIterator[tuple[ProxyProcess, list[SimulatedNode]]]:
    """A proxy over one node for each behaviour."""
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                SimulatedNode(replace(behaviour, work_dir=folder / f"n{n}"), port=0)
            )
            for n, behaviour in enumerate(behaviours)
        ]
        addresses = tuple(
            f"127.0.0.1:{node.port}" + (f"?token={node.behaviour.token}" if node.behaviour.token else "")
            for node in nodes
        )
        yield (
            await stack.enter_async_context(ProxyProcess(folder / "data", nodes=addresses, flags=flags)),
            nodes,
        )


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def waiting(proxy: ProxyProcess, count: int) -> None:
    """Until the cluster says that so many tasks wait."""
    async with asyncio.timeout(10):
        while (await proxy.get("/info"))["taskQueueCount"] != count:
            await asyncio.sleep(0.1)


async def placed(nodes: list[SimulatedNode], task: str) -> int:
    """Which node has the task."""
    await until(lambda: any(task in node.tasks for node in nodes))
    return next(number for number, node in enumerate(nodes) if task in node.tasks)


async def uploads(node: SimulatedNode) -> dict[str, dict[str, int]]:
    """What was sent to a node and not committed there: files and sizes by task."""
    async with aiohttp.ClientSession(node.url) as session:
        state: dict[str, Any] = await (await session.get("/simulated/state")).json()
    return {upload["uuid"]: upload["files"] for upload in state["uploads"]}


async def uploaded(node: SimulatedNode, task: str, files: int) -> None:
    """Until a node was sent so many files of a task."""
    async with asyncio.timeout(10):
        while len((await uploads(node)).get(task, ())) < files:
            await asyncio.sleep(0.02)
