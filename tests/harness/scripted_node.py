"""A node whose every answer a test can choose: NodeODM's where nothing else was asked for, and as nasty as need be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from aiohttp import web

from clusterodm_py.core.types import Address, Node, Token

INFO: Final = {"version": "2.2.4", "engine": "odm", "taskQueueCount": 0, "maxParallelTasks": 2}
RUNNING: Final = {"status": {"code": 20}, "processingTime": 5}
COMPLETED: Final = {"status": {"code": 40}, "processingTime": 9}
UNKNOWN: Final = {"error": "no such task here"}
BAD_TOKEN: Final = {"error": "Invalid authentication token: token does not match."}


@dataclass(frozen=True)
class Status:
    """An answer with another HTTP status than 200."""

    code: int
    text: str = "<html>gateway</html>"


@dataclass(frozen=True)
class Raw:
    """A body as it is, with HTTP status 200."""

    text: str


class Drop:
    """The connection is closed instead of an answer."""


@dataclass
class Hold:
    """No answer before `open` is set; `came` tells that somebody waits for it."""

    then: Any = None
    came: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)


Reply: TypeAlias = Any

_ROUTES: Final = (
    ("info", r"/info"),
    ("options", r"/options"),
    ("init", r"/task/new/init"),
    ("upload", r"/task/new/upload/.*"),
    ("commit", r"/task/new/commit/.*"),
    ("report", r"/task/[^/]*/info"),
    ("output", r"/task/[^/]*/output"),
    ("cancel", r"/task/cancel"),
    ("remove", r"/task/remove"),
    ("restart", r"/task/restart"),
)


@dataclass
class ScriptedNode:
    """`replies[route]` is the answer of a route, or a list whose last one stays."""

    replies: dict[str, Reply] = field(default_factory=dict)
    token: str = ""
    seen: list[str] = field(default_factory=list)
    """The routes asked, in order."""
    paths: list[str] = field(default_factory=list)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    on: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What a test does at the moment a route is asked, before it is answered."""
    port: int = 0

    @property
    def node(self) -> Node:
        return Node(address=Address("127.0.0.1", self.port), token=Token(self.token))

    def count(self, route: str) -> int:
        return self.seen.count(route)

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = next(name for name, pattern in _ROUTES if re.fullmatch(pattern, request.path))
        self.seen.append(route)
        self.paths.append(request.raw_path)
        reply = self._next(route)
        if reply is not None and isinstance(reply, Status) and route == "upload" and reply.code == 413:
            return web.Response(status=413)  # before the body was read
        self.bodies.append((route, await request.read()))
        if route in self.on:
            await self.on[route]()
        return await self._told(request, route, reply)

    def _next(self, route: str) -> Reply:
        reply = self.replies.get(route)
        if isinstance(reply, list) and route != "options":
            return reply.pop(0) if len(reply) > 1 else reply[0]
        return reply

    async def _told(self, request: web.BaseRequest, route: str, reply: Reply) -> web.StreamResponse:
        match reply:
            case Hold():
                reply.came.set()
                await reply.open.wait()
                return await self._told(request, route, reply.then)
            case Drop():
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case Status(code, text):
                return web.Response(status=code, text=text, content_type="text/html")
            case Raw(text):
                return web.Response(text=text, content_type="application/json")
            case None:
                return web.json_response(self._usual(request, route))
            case _:
                return web.json_response(reply)

    def _usual(self, request: web.BaseRequest, route: str) -> Any:
        match route:
            case "info":
                return INFO
            case "options":
                return []
            case "init":
                options_refused = b'name="options"\r\n\r\n[\r\n' in self.bodies[-1][1]
                return {"error": "bad options"} if options_refused else {"uuid": request.headers["set-uuid"]}
            case "commit":
                return {"uuid": request.path.rpartition("/")[2]}
            case "report":
                return RUNNING
            case "output":
                return []
            case _:
                return {"success": True}
