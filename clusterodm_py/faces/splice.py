"""Passes the rest of a large answer from the node's socket to the client's inside the kernel (Linux `splice`).

No byte of it enters this process, so a download costs next to no CPU here and takes nothing from other requests. Both
connections stay ours: what was read or written before is accounted for by the caller. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

POSSIBLE: Final = hasattr(os, "splice")
"""Whether this platform has it."""

WORTHWHILE: Final = 1024 * 1024
"""Bytes from which on it pays to set up."""

_PIPE: Final = 1024 * 1024
"""Bytes on their way in the kernel; also what is moved between two looks at other work."""

_F_SETPIPE_SZ: Final = 1031


class Broken(Exception):
    """One of the two ends closed, or fell silent, before everything was passed."""


def plain_socket(transport: asyncio.BaseTransport | None) -> int | None:
    """The descriptor of an unencrypted, open connection; None for any other."""
    if transport is None or transport.is_closing() or transport.get_extra_info("ssl_object") is not None:
        return None
    sock = transport.get_extra_info("socket")
    return None if sock is None else int(sock.fileno())


async def pass_bytes(source: int, target: int, count: int, silence: float) -> None:
    """Move `count` bytes from one non-blocking socket to the other, at the pace of the slower.

    The caller has seen to it that nobody else reads `source` or writes `target`. Raises Broken, also when the source
    sends nothing for `silence` seconds; a target may be as slow as it likes.
    """
    with _duplicate(source) as reader, _duplicate(target) as writer, _pipe() as (inlet, outlet):
        held = 0
        while count or held:
            try:
                if count and held < _PIPE // 2:
                    taken = os.splice(
                        reader, inlet, min(count, _PIPE - held), flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
                    )
                    if not taken:
                        raise Broken
                    count -= taken
                    held += taken
            except BlockingIOError:
                if not held:
                    await _ready(reader, writing=False, seconds=silence)
                    continue
            try:
                held -= os.splice(outlet, writer, held, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
            except BlockingIOError:
                await _ready(writer, writing=True, seconds=None)
            await asyncio.sleep(0)


async def _ready(descriptor: int, *, writing: bool, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, _settle, ready)
    try:
        async with asyncio.timeout(seconds):
            await ready
    except TimeoutError:
        raise Broken from None
    finally:
        remove(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


@contextmanager
def _duplicate(descriptor: int) -> Iterator[int]:
    """The event loop keeps the original for its transport and will not watch it for anybody else."""
    copy = os.dup(descriptor)
    try:
        yield copy
    finally:
        os.close(copy)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe as (inlet, outlet), as large as this system lets us have it."""
    outlet, inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # beyond the user's share: the default of 64 KiB works too
            fcntl.fcntl(inlet, _F_SETPIPE_SZ, _PIPE)
        yield inlet, outlet
    finally:
        os.close(inlet)
        os.close(outlet)
