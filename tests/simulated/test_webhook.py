from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.node_caller import NodeCaller


class Listener:
    """Notes every call and answers with `status`."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.statuses: list[int] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        await self.calls.put((request.path, await request.json()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    app = web.Application()
    app.router.add_post("/{hook}", listener.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield listener
    await runner.cleanup()


async def test_both_webhooks_hear_of_the_end(session: ClientSession, listener: Listener) -> None:
    async with SimulatedNode(Behaviour(seconds=0, webhook=f"{listener.url}/node")) as node:
        task = await NodeCaller(session, node).submit("b.jpg", "a.jpg", webhook=f"{listener.url}/task")
        heard = dict([await listener.calls.get(), await listener.calls.get()])
    assert set(heard) == {"/node", "/task"}
    for body in heard.values():
        assert (body["uuid"], body["status"]) == (task, {"code": 40})
        assert body["images"] == ["a.jpg", "b.jpg"]


async def test_a_webhook_is_called_until_it_answers_200(session: ClientSession, listener: Listener) -> None:
    listener.statuses = [500, 404]
    async with SimulatedNode(Behaviour(seconds=0, fail_tasks=1, webhook_pause=0)) as node:
        await NodeCaller(session, node).submit(webhook=f"{listener.url}/task")
        for _ in range(3):
            _, body = await asyncio.wait_for(listener.calls.get(), 10)
            assert body["status"]["code"] == 30
    assert listener.calls.empty()


async def test_a_dead_webhook_hurts_nobody(session: ClientSession, unused_tcp_port: int) -> None:
    async with SimulatedNode(Behaviour(seconds=0, webhook_pause=0)) as node:
        call = NodeCaller(session, node)
        task = await call.submit(webhook=f"http://127.0.0.1:{unused_tcp_port}/")
        await call.until(task, 40)
