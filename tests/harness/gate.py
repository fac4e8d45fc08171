"""Stands between the proxy and a node, and holds the first request to a chosen path: before the node sees it, or after
it acted and before its answer is seen. So a test can kill the proxy at that very step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web


@dataclass
class Gate:
    """An HTTP relay on a port of its own in front of `node_port`."""

    node_port: int
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the request to hold has come."""
    seen: list[str] = field(default_factory=list)
    """Every path and query that came by."""
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _prefix: str | None = None
    _after: bool = False

    def hold(self, prefix: str, *, after: bool) -> None:
        """Hold the next request to a path with `prefix`; `after` the node has answered, or before it is asked."""
        self._prefix, self._after = prefix, after
        self.held.clear()
        self._opened.clear()

    def open(self) -> None:
        """Let the held request go on, and every later one through."""
        self._prefix = None
        self._opened.set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._pass))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open()
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.raw_path)
        body = await request.read()
        stopped = self._prefix is not None and request.path.startswith(self._prefix)
        if stopped and not self._after:
            await self._hold()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        url = f"http://127.0.0.1:{self.node_port}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            content = await answer.read()
        if stopped and self._after:
            await self._hold()
        return web.Response(status=answer.status, body=content, content_type=answer.content_type)

    async def _hold(self) -> None:
        self._prefix = None  # only the first: with parallel uploads the others go on
        self.held.set()
        await self._opened.wait()
