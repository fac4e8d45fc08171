"""Passes requests on to the node that can answer them, both ways as a stream, and drops what belongs to one hop.

A node that cannot be reached, or that closes half-way, closes the client too: never an error of ours (contract §11.3).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.core.headers import forward_headers, reply_headers
from clusterodm_py.core.types import Node, NodeId
from clusterodm_py.faces.forms import chunks
from clusterodm_py.faces.replies import Cors, Dropped
from clusterodm_py.faces.splice import POSSIBLE, WORTHWHILE, pass_bytes
from clusterodm_py.nodeodm.connection import Connection
from clusterodm_py.nodeodm.line import Answer
from clusterodm_py.nodeodm.quick import QuickGets
from clusterodm_py.nodeodm.sockets import Broken, plain_socket

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 120.0
"""A node that sends nothing for so long, in the middle of an answer, is given up with its client."""

LOOK_SECONDS: Final = 1.0
"""How often we look whether the client is still there."""

SHORT_SECONDS: Final = 20.0
"""The same for small answers, which a client waits 30 seconds for (contract §11.1)."""

_OURS: Final = frozenset({"content-length", "date", "etag"})
"""Headers that we write anew for a copied answer, or that would no longer be true of it."""


class Relay:
    """Streams requests to nodes; identical small ones that come at the same time are asked once."""

    def __init__(self, connection: Connection, quick: QuickGets, cors: Cors) -> None:
        self._connection = connection
        self._quick = quick
        self._cors = cors
        self._asked: dict[tuple[NodeId, str, str], asyncio.Future[Answer]] = {}

    async def stream(self, request: web.BaseRequest, node: Node, path: str, query: str) -> web.StreamResponse:
        """The node's answer as it comes. Raises Dropped when there is none."""
        peer = request.remote or ""
        headers = forward_headers(request.headers.items(), peer, request.scheme, request.host)
        try:
            async with (
                _while_there(request),
                self._connection.request(
                    node,
                    request.method,
                    path,
                    query,
                    headers=headers,
                    data=chunks(request) if request.can_read_body else None,
                    silence=SILENCE_SECONDS,
                ) as source,
            ):
                return await self._pour(request, node, source)
        except Unreachable as error:
            logger.warning("node=%s cannot be asked for %s: %s", node.id, path, error)
            raise Dropped from None

    async def copy(self, node: Node, path: str, query: str) -> Answer:
        """A small GET's whole answer; whoever asks the same while it is on its way shares it. Raises Unreachable."""
        key = (node.id, path, query)
        if (under_way := self._asked.get(key)) is not None:
            return await asyncio.shield(under_way)
        future = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._quick.get(node, path, query, SHORT_SECONDS)
        except BaseException as error:
            trouble = error if isinstance(error, Unreachable) else Unreachable("the question was given up")
            future.set_exception(trouble)
            future.exception()  # nobody else may have been waiting
            raise
        else:
            future.set_result(found)
            return found
        finally:
            del self._asked[key]

    def reply(self, request: web.BaseRequest, copy: Answer, content: bytes | None = None) -> web.Response:
        """A copied answer for one client, with `content` in place of its body if given."""
        response = web.Response(status=copy.status, body=copy.body if content is None else content)
        for name, value in reply_headers(copy.headers):
            if name not in _OURS:
                response.headers[name] = value
        response.headers.extend(self._cors.headers(request))
        return response

    async def _pour(
        self, request: web.BaseRequest, node: Node, source: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=source.status, reason=source.reason)
        for name, value in reply_headers(source.headers.items()):
            response.headers.add(name, value)
        response.headers.extend(self._cors.headers(request))
        bodiless = request.method == "HEAD" or source.status in (204, 304)
        if "Content-Length" not in source.headers and request.version >= (1, 1) and not bodiless:
            response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            if not bodiless:
                await self._pour_body(request, response, source)
        except (
            aiohttp.ClientPayloadError,
            aiohttp.ClientConnectionError,
            TimeoutError,
            OSError,
            Broken,
        ) as error:
            if not (request.transport is None or request.transport.is_closing()):
                logger.warning("node=%s broke off %s: %s", node.id, request.path, type(error).__name__)
            raise Dropped from None
        await response.write_eof()
        return response

    async def _pour_body(
        self, request: web.BaseRequest, response: web.StreamResponse, source: aiohttp.ClientResponse
    ) -> None:
        passed = await self._splice(request, response, source)
        if not passed:
            async for chunk in source.content.iter_any():
                await response.write(chunk)

    async def _splice(
        self, request: web.BaseRequest, response: web.StreamResponse, source: aiohttp.ClientResponse
    ) -> bool:
        """Let the kernel pass a large body; False, with nothing changed, where that cannot be."""
        length, connection = source.content_length, source.connection
        if not POSSIBLE or length is None or length < WORTHWHILE or connection is None:
            return False
        if plain_socket(connection.transport) is None or plain_socket(request.transport) is None:
            return False
        early = b"".join(iter(source.content.read_nowait, b""))
        if connection.protocol is None or source.connection is None:  # that was all of it
            await response.write(early)
            return True
        connection.protocol.pause_reading()  # not before: taking what is there makes it read on
        try:
            await response.write(early)
            await _flushed(request)
            await _pass_rest(connection, request, length - len(early))
        finally:
            source.close()  # its parser saw the body's beginning only
        return True


@asynccontextmanager
async def _while_there(request: web.BaseRequest) -> AsyncIterator[None]:
    """Gives up what is within, by Dropped, soon after the client left: a silent node would keep it for minutes."""
    loop = asyncio.get_running_loop()
    looking: asyncio.TimerHandle

    def look() -> None:
        nonlocal looking
        if request.transport is None:
            patience.reschedule(loop.time())
        else:
            looking = loop.call_later(LOOK_SECONDS, look)

    looking = loop.call_later(LOOK_SECONDS, look)
    try:
        async with asyncio.timeout(None) as patience:
            yield
    except TimeoutError:
        raise Dropped from None
    finally:
        looking.cancel()


async def _pass_rest(connection: aiohttp.connector.Connection, request: web.BaseRequest, count: int) -> None:
    # Asked for only now: while we waited, either may have been closed and its number given to a stranger.
    upstream, downstream = plain_socket(connection.transport), plain_socket(request.transport)
    if upstream is None or downstream is None:
        raise Broken
    await pass_bytes(upstream, downstream, count, SILENCE_SECONDS)


async def _flushed(request: web.BaseRequest) -> None:
    """Everything written so far has left this process."""
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=0)  # so that "may be written to" means "is empty"
        await request.writer.drain()
    if request.transport is not None:
        request.transport.set_write_buffer_limits()
