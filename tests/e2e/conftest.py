"""A cluster of the real program and simulated nodes, for tests that look at it from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[SimulatedNode]:
    async with SimulatedNode(Behaviour(seconds=0.3, work_dir=tmp_path / "node"), port=0) as node:
        yield node


@pytest.fixture
async def proxy(tmp_path: Path, node: SimulatedNode) -> AsyncIterator[ProxyProcess]:
    """One proxy in front of one node that processes a task in a moment."""
    async with ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy:
        yield proxy
