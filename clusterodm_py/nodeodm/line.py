"""One connection to a node: a question, its answer, the next question. Parsing is httptools' (llhttp)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httptools

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.nodeodm.connection import LARGEST_ANSWER

IDLE_SECONDS: Final = 4.0
"""How long an unused connection is kept; nodes close theirs after 5 (contract §1.0.2)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of a node."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Stale(Unreachable):
    """Closed before a byte of an answer: a GET may be asked again."""

    def __init__(self) -> None:
        super().__init__("closed the connection")


class Line(asyncio.Protocol):
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

    @property
    def transport(self) -> asyncio.Transport | None:
        """None once the connection is lost."""
        return self._transport

    def ask(self, request: bytes = b"") -> asyncio.Future[Answer]:
        """The answer to `request`; without one the caller sends it past the transport."""
        self._waiter = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers = []
        self._body = bytearray()
        self._heard = self._headed = False
        if self._transport is None:
            self._fail(Stale())
        elif request:
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
        self._fail(Unreachable("closed the connection in its answer") if self._heard else Stale())

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
