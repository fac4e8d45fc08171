"""A simulated node that processes in no time, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.node_caller import NodeCaller


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    async with SimulatedNode(Behaviour(seconds=0)) as node:
        yield node


@pytest.fixture
def call(session: ClientSession, node: SimulatedNode) -> NodeCaller:
    return NodeCaller(session, node)
