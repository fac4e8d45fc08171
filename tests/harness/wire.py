"""Requests byte by byte as no decent client writes them, and their replies read from the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from harness.bodies import BOUNDARY

SECONDS = 2.0
"""What any answer to a bad request may take."""

FORM = f"multipart/form-data; boundary={BOUNDARY}"
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str, path: str, body: bytes = b"", *, kind: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """A request whose length is told as it is unless `headers` say otherwise; the last on its connection."""
    head = {"Host": "127.0.0.1", "Connection": "close"}
    if kind:
        head["Content-Type"] = kind
    if not headers or "Transfer-Encoding" not in headers:
        head["Content-Length"] = str(len(body))
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (head | dict(headers or {})).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def talk(port: int, sent: bytes, *, half_close: bool = False) -> bytes:
    """Everything the proxy says to `sent` until it closes, which it must do within `SECONDS`."""
    async with asyncio.timeout(SECONDS), _sent(port, sent, half_close=half_close) as reader:
        with suppress(ConnectionError):
            return await reader.read()
        return b""


async def ask(port: int, sent: bytes) -> Raw:
    """The first reply to `sent`, by its own length: a refused body may still be on its way when it comes."""
    async with asyncio.timeout(SECONDS), _sent(port, sent) as reader:
        head = parsed(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(head.headers.get("content-length", 0)))
        return replace(head, body=body)


def parsed(reply: bytes) -> Raw:
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1."), reply[:200]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Raw(int(first.split()[1]), headers, body)


@asynccontextmanager
async def _sent(port: int, data: bytes, *, half_close: bool = False) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which `data` is being sent, whatever becomes of it, while the reply is read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            if half_close:
                writer.write_eof()

    sending = asyncio.create_task(send())
    try:
        yield reader
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
