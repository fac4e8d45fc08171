"""One pooled HTTP session to all nodes, with failures told apart: did the node act, or is that not known?"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from clusterodm_py.core.errors import NodeRefused, Unreachable
from clusterodm_py.core.types import Json, Node
from clusterodm_py.core.wire import node_query

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0
"""How long a node may take over a small call (contract §4.1)."""

LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of JSON we are willing to hold; a longer answer is not a NodeODM's."""

_READ_BUFFER: Final = 256 * 1024

_LONGEST_TEXT: Final = 500
"""Characters kept of what a node says about an error: it goes into records, logs and answers."""

_SECRET: Final = re.compile(r"(token=)[^&\s\"'<>]+", re.IGNORECASE)


class Unclear(Unreachable):
    """Something answered, but not as a NodeODM does: a gateway before a node that is away, or one that stumbled.

    Whether the node acted is not known.
    """


class Closed(Unreachable):
    """Its machine answers that nothing listens at its port: the node does not run, and did not act."""


class Connection:
    """The session behind `client` and `push`, and what the relay streams through. An async context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            timeout=aiohttp.ClientTimeout(total=None, connect=ANSWER_SECONDS),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self,
        node: Node,
        method: str,
        path: str,
        query: str = "",
        *,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
        data: aiohttp.FormData | AsyncIterator[bytes] | bytes | None = None,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The node's answer as soon as its headers are there. `path` and `query` are sent as they are, encoded.

        The query's token is replaced by the node's. `silence` bounds the seconds between two reads of the answer.
        Raises Unreachable when the connection fails before the headers; errors while the body is read stay aiohttp's
        (`aiohttp.ClientError`, `TimeoutError`).
        """
        if self._session is None:
            raise RuntimeError("used outside `async with`")
        try:
            response = await self._session.request(
                method,
                _url(node, path, query),
                headers=headers,
                data=data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=ANSWER_SECONDS, sock_read=silence),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _failure(error) from None
        try:
            yield response
        finally:
            response.release()

    async def json(
        self,
        node: Node,
        method: str,
        path: str,
        query: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        data: aiohttp.FormData | AsyncIterator[bytes] | bytes | None = None,
        seconds: float | None = ANSWER_SECONDS,
    ) -> Json:
        """The node's JSON answer, `error` or not.

        Raises Unclear when it is no JSON or its status is not 200, Unreachable when it did not arrive whole within
        `seconds` (None: the caller watches the time).
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self.request(node, method, path, query, headers=headers, data=data) as response,
            ):
                body = await _bounded(response)
        except TimeoutError:
            raise Unreachable(f"no answer within {seconds:g} s" if seconds else "timed out") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(_plain(error)) from None
        return parsed(response.status, body)


def parsed(status: int, body: bytes) -> Json:
    """The JSON of an answer. Raises Unclear when it is no JSON or its status is not 200."""
    if status != 200:
        raise Unclear(f"answered with HTTP status {status}")
    try:
        answer: Json = json.loads(body)
    except (ValueError, RecursionError):
        raise Unclear("did not answer with JSON") from None
    return answer


def granted(answer: Json) -> Json:
    """`answer`, unless it says `error` or an untrue `success`: then raises NodeRefused with its text."""
    if isinstance(answer, dict):
        if answer.get("error"):
            raise NodeRefused(_quotable(str(answer["error"])))
        if answer.get("success") is False:
            raise NodeRefused("the node answered that it did not succeed")
    return answer


def _quotable(text: str) -> str:
    """A node's words in one line of bearable length, without a token that stood in a URL it quotes."""
    return _SECRET.sub(r"\1***", " ".join(text[: 4 * _LONGEST_TEXT].split()))[:_LONGEST_TEXT]


def target(node: Node, path: str, query: str = "") -> str:
    """Path and query as they go on the wire, under the node's own token."""
    swapped = node_query(query, node.token)
    return f"{path}?{swapped}" if swapped else path


def _url(node: Node, path: str, query: str) -> URL:
    return URL(f"{node.address.url}{target(node, path, query)}", encoded=True)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return bytes(body)


def _failure(error: BaseException) -> Unreachable:
    """The error to raise for a connection that was not made, or broke before an answer."""
    match error:
        case aiohttp.ClientConnectorError(os_error=OSError(errno=errno.ECONNREFUSED)):
            return Closed(_plain(error))
        case _:
            return Unreachable(_plain(error))


def _plain(error: BaseException) -> str:
    """What happened, without the URL: it carries the node's token."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "its TLS certificate was not accepted"
        case aiohttp.ClientConnectorError(os_error=cause) if cause.strerror:
            return cause.strerror.lower()
        case TimeoutError():
            return "timed out"
        case aiohttp.ServerDisconnectedError():
            return "closed the connection"
        case OSError(strerror=str(text)):
            return text.lower()
        case _:
            return type(error).__name__
