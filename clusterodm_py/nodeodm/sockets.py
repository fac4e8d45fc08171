"""Sockets under an event loop's transports, for what only the kernel does: `splice` and `sendfile`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Broken(Exception):
    """One of the two ends closed, or fell silent, before everything was passed."""


def plain_socket(transport: asyncio.BaseTransport | None) -> int | None:
    """The descriptor of an unencrypted, open connection; None for any other."""
    if transport is None or transport.is_closing() or transport.get_extra_info("ssl_object") is not None:
        return None
    sock = transport.get_extra_info("socket")
    return None if sock is None else int(sock.fileno())


async def ready(descriptor: int, *, writing: bool, seconds: float | None) -> None:
    """Return when the descriptor can be written to, or read from. Raises Broken after `seconds`."""
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, _settle, settled)
    try:
        async with asyncio.timeout(seconds):
            await settled
    except TimeoutError:
        raise Broken from None
    finally:
        remove(descriptor)


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


@contextmanager
def duplicate(descriptor: int) -> Iterator[int]:
    """The event loop keeps the original for its transport and will not watch it for anybody else."""
    copy = os.dup(descriptor)
    try:
        yield copy
    finally:
        os.close(copy)
