"""Sends files from the disk to a node inside the kernel (`sendfile`): no byte of them enters this process.

For connections without TLS, where the platform has it. Says nothing about what an answer means.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.core.types import Address
from clusterodm_py.nodeodm.connection import ANSWER_SECONDS, Closed
from clusterodm_py.nodeodm.line import Answer, Line
from clusterodm_py.nodeodm.sockets import Broken, duplicate, plain_socket, ready

POSSIBLE: Final = hasattr(os, "sendfile")

_PIECE: Final = 1024 * 1024
"""Bytes of one call, so that a cold disk is never waited for long, in a thread."""

_LAST_WORD: Final = 5.0
"""Seconds to wait for what a node had said before it closed in the middle of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One request: a head, a file and a tail."""

    head: bytes
    file: BinaryIO
    size: int
    tail: bytes
    piece: int = _PIECE
    """Bytes between two calls of `moved`, at most."""


class Freight:
    """The connections of one delivery to one node, kept between files; leaving closes them."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[Line] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._idle:
            line.close()

    async def send(self, load: Load, moved: Callable[[int], Awaitable[None]]) -> Answer:
        """The node's answer, which may come before it was sent everything. `moved` is told of each piece.

        Raises Unreachable when the connection fails before an answer, Closed when nothing listens there.
        """
        line = self._kept() or await self._dial()
        try:
            answer, whole = await self._over(line, load, moved)
        except BaseException:
            line.close()
            raise
        if whole and line.reusable:
            self._idle.append(line)
        else:
            line.close()
        return answer

    async def _over(
        self, line: Line, load: Load, moved: Callable[[int], Awaitable[None]]
    ) -> tuple[Answer, bool]:
        """The answer, and whether everything was sent before it came."""
        answer = line.ask()
        descriptor = plain_socket(line.transport)
        if descriptor is None:
            return await answer, False
        try:
            with duplicate(descriptor) as sock:
                whole = await _pour(sock, load, answer, moved)
        except (BrokenPipeError, ConnectionResetError):  # it closed; if it said why, that arrived before
            whole = False
        async with asyncio.timeout(None if whole else _LAST_WORD):
            return await answer, whole

    def _kept(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.usable():
                return line
            line.close()
        return None

    async def _dial(self) -> Line:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, line = await loop.create_connection(
                    lambda: Line(loop), self._address.host, self._address.port
                )
        except ConnectionRefusedError as error:
            raise Closed((error.strerror or "connection refused").lower()) from None
        except TimeoutError:
            raise Unreachable(f"no connection within {ANSWER_SECONDS:g} s") from None
        except OSError as error:
            raise Unreachable((error.strerror or type(error).__name__).lower()) from None
        return line


async def _pour(
    sock: int, load: Load, answer: asyncio.Future[Answer], moved: Callable[[int], Awaitable[None]]
) -> bool:
    """Send everything; False when the answer came first."""
    await _write(sock, load.head)
    sent = 0
    while sent < load.size:
        if answer.done():
            return False
        try:
            count = await _finished(
                os.sendfile, sock, load.file.fileno(), sent, min(load.piece, load.size - sent)
            )
        except BlockingIOError:
            await _writable(sock)
            continue
        if not count:
            raise Unreachable("the file is shorter here than it was")
        sent += count
        await moved(count)
    await _write(sock, load.tail)
    return True


async def _finished(
    work: Callable[[int, int, int, int], int], sock: int, file: int, start: int, count: int
) -> int:
    """Done in a thread, which is waited for also when cancelled: it must not meet a descriptor that is somebody else's
    by then.
    """
    job = asyncio.get_running_loop().run_in_executor(None, work, sock, file, start, count)
    try:
        await asyncio.wait([job])
    finally:
        while not job.done():
            try:
                await asyncio.wait([job])
            except asyncio.CancelledError:
                continue
    return job.result()


async def _write(sock: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(sock, left) :]
        except BlockingIOError:
            await _writable(sock)


async def _writable(sock: int) -> None:
    try:
        await ready(sock, writing=True, seconds=None)
    except Broken:
        raise Unreachable("closed the connection") from None
