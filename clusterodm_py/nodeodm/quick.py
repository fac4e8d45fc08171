"""Small GETs to nodes, several thousand a second: what clients poll, over kept-alive connections of our own.

aiohttp's client does everything and costs 3 times as much per question; this does only what polling needs: no
redirects, cookies, proxies or compression.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from types import TracebackType
from typing import Final, Self

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.core.types import Address, Node
from clusterodm_py.nodeodm.connection import target
from clusterodm_py.nodeodm.line import Answer, Line, Stale

MOST_IDLE: Final = 64
"""Unused connections kept for one node."""


class QuickGets:
    """A pool of connections per node address; an async context manager that closes them."""

    def __init__(self) -> None:
        self._idle: defaultdict[Address, deque[Line]] = defaultdict(deque)
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
        host = node.address.url.partition("//")[2]
        request = f"GET {target(node, path, query)} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode(
            "ascii", "replace"
        )
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
            except Stale:  # the node had closed it already, without looking at the question
                pass
        return await self._over(address, await self._dial(address), request)

    async def _over(self, address: Address, line: Line, request: bytes) -> Answer:
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

    def _kept(self, address: Address) -> Line | None:
        idle = self._idle[address]
        while idle:
            line = idle.pop()  # the one used last: the others get old, and are closed
            if line.usable():
                return line
            line.close()
        return None

    async def _dial(self, address: Address) -> Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: Line(loop), address.host, address.port, ssl=self._context() if address.tls else None
        )
        return line

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls
