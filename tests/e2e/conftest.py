"""A cluster of the real program and simulated nodes, for tests that look at it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess
from harness.standing import Standing, memory, uploads

LARGEST_GROWTH = 100 * 1024
"""KiB that all of a module's hostile requests together may add to the program's memory."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[SimulatedNode]:
    async with SimulatedNode(Behaviour(seconds=0.3, work_dir=tmp_path / "node"), port=0) as node:
        yield node


@pytest.fixture
async def proxy(tmp_path: Path, node: SimulatedNode) -> AsyncIterator[ProxyProcess]:
    """One proxy in front of one node that processes a task in a moment."""
    async with ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Standing]:
    folder = tmp_path_factory.mktemp("junk")
    async with (
        SimulatedNode(Behaviour(seconds=0.1, work_dir=folder / "node"), port=0) as node,
        ProxyProcess(folder / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        yield Standing(proxy, node, memory(proxy))


@pytest_asyncio.fixture(loop_scope="module")
async def unharmed(standing: Standing) -> AsyncIterator[ProxyProcess]:
    """The proxy, which must be as well and as clean after the test as it was before."""
    proxy = standing.proxy
    log = len(proxy.log)
    yield proxy
    async with asyncio.timeout(2):
        assert (await proxy.get("/info"))["version"] == "1.5.3"
        assert await proxy.get("/task/list") == []
        while uploads(proxy):
            await asyncio.sleep(0.02)
    assert memory(proxy) < standing.memory + LARGEST_GROWTH
    assert "Traceback" not in proxy.log[log:]
