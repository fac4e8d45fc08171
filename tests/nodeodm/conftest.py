"""A node that answers as told, and a session to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clusterodm_py.nodeodm.connection import Connection
from harness.scripted_node import ScriptedNode


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNode]:
    async with ScriptedNode(token="nodetok") as node:
        yield node


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with Connection() as connection:
        yield connection
