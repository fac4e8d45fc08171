"""Large downloads take their way through the kernel; they must come out as they went in, many at once."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import aiohttp

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess
from harness.tasks import ended, submit

SIZE = 8_000_000


async def digest(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as response:
        content = await response.read()
    return len(content), hashlib.sha256(content).hexdigest()


async def test_many_large_downloads_at_once_are_whole(tmp_path: Path) -> None:
    behaviour = Behaviour(seconds=0.1, result_size=SIZE, work_dir=tmp_path / "n")
    async with (
        SimulatedNode(behaviour) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
        aiohttp.ClientSession() as session,
    ):
        task = await submit(proxy)
        assert await ended(proxy, task) == 40
        path = f"/task/{task}/download/all.zip"
        direct = await digest(session, f"{node.url}{path}")
        assert direct[0] == SIZE
        for _ in range(5):
            relayed = await asyncio.gather(*(digest(session, f"{proxy.url}{path}") for _ in range(8)))
            assert set(relayed) == {direct}
