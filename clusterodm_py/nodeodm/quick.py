"""Small GETs to nodes, several thousand a second: what clients poll, over kept-alive connections of our own.

aiohttp's client does everything and costs 3 times as much per question; this does only what polling needs: no
redirects, cookies, proxies or compression. Parsing is httptools' (llhttp).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import httptools

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.core.types import Address, Node
from clusterodm_py.core.wire import node_query
from clusterodm_py.nodeodm.connection import LARGEST_ANSWER

IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept; nodes close theirs after 5 (contract §1.0.2)."""

MOST_IDLE: Final = 64
"""Unused connections kept for one node."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of a node."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class QuickGets:
    """A pool of connections per node address; an async context manager that closes them."""

    def __init__(self) -> None:
        self._idle: defaultdict[Address, deque[_Line]] = defaultdict(deque)
        self._tls: ssl.SSLContext | None = None
        """Made once, when first needed: it reads every certificate authority of the system."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    async def get(self, node: Node, path: str, query: str, seconds: float) -> Answer:
        """The answer to a GET, under the node's own token. Raises Unreachable when it does not come whole in time."""
        swapped = node_query(query, node.token)
        target = f"{path}?{swapped}" if swapped else path
        host = node.address.url.partition("//")[2]
        request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode("ascii", "replace")
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(node.address, request)
        except TimeoutError:
            raise Unreachable(f"no answer within {seconds:g} s") from None
        except OSError as error:
            raise Unreachable((error.strerror or type(error).__name__).lower()) from None
        except ValueError:
            raise Unreachable("its host name is not a valid one") from None

    async def _ask(self, address: Address, request: bytes) -> Answer:
        line = self._kept(address)
        if line is not None:
            try:
                return await self._over(address, line, request)
            except _Stale:  # the node had closed it already, without looking at the question
                pass
        return await self._over(address, await self._dial(address), request)

    async def _over(self, address: Address, line: _Line, request: bytes) -> Answer:
        try:
            answer = await line.ask(request)
        except BaseException:
            line.close()
            raise
        idle = self._idle[address]
        if line.reusable and len(idle) < MOST_IDLE:
            idle.append(line)
        else:
            line.close()
        return answer

    def _kept(self, address: Address) -> _Line | None:
        idle = self._idle[address]
        while idle:
            line = idle.pop()  # the one used last: the others get old, and are closed
            if line.usable():
                return line
            line.close()
        return None

    async def _dial(self, address: Address) -> _Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: _Line(loop), address.host, address.port, ssl=self._context() if address.tls else None
        )
        return line

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class _Stale(Unreachable):
    """Closed before a byte of an answer: a GET may be asked again."""

    def __init__(self) -> None:
        super().__init__("closed the connection")


class _Line(asyncio.Protocol):
    """One connection: a question, its answer, the next question. The parser's callbacks are `on_*`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._heard = False
        self._headed = False
        self._used = loop.time()
        self.reusable = True

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._waiter = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers = []
        self._body = bytearray()
        self._heard = self._headed = False
        if self._transport is None:
            self._fail(_Stale())
        else:
            self._transport.write(request)
        return self._waiter

    def usable(self) -> bool:
        fresh = self._loop.time() - self._used < IDLE_SECONDS
        return fresh and self.reusable and self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a Transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(Unreachable("closed the connection in its answer") if self._heard else _Stale())

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():  # nobody asked: it must not answer the next question
            self.close()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(Unreachable("does not speak HTTP"))
        if len(self._body) > LARGEST_ANSWER:
            self._fail(Unreachable("the answer is too large"))

    def eof_received(self) -> None:
        """An answer without a length ends with its connection."""
        if self._headed and not any(
            name in ("content-length", "transfer-encoding") for name, _ in self._headers
        ):
            self.on_message_complete()

    def on_message_begin(self) -> None:
        if self._waiter is None or self._waiter.done():  # a second answer to one question
            self.close()

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < HTTPStatus.OK:  # an interim one, such as "early hints"
            self._headers, self._headed = [], False
            return
        self._used = self._loop.time()
        self.reusable = self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            status: int = self._parser.get_status_code()
            self._waiter.set_result(Answer(status, tuple(self._headers), bytes(self._body)))

    def _fail(self, error: Unreachable) -> None:
        self.reusable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
