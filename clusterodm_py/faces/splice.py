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

from clusterodm_py.nodeodm.sockets import Broken, duplicate, ready

POSSIBLE: Final = hasattr(os, "splice")
"""Whether this platform has it."""

WORTHWHILE: Final = 1024 * 1024
"""Bytes from which on it pays to set up."""

_PIPE: Final = 1024 * 1024
"""Bytes on their way in the kernel; also what is moved between two looks at other work."""

_F_SETPIPE_SZ: Final = 1031


async def pass_bytes(source: int, target: int, count: int, silence: float) -> None:
    """Move `count` bytes from one non-blocking socket to the other, at the pace of the slower.

    The caller has seen to it that nobody else reads `source` or writes `target`. Raises Broken, also when the source
    sends nothing for `silence` seconds; a target may be as slow as it likes.
    """
    with duplicate(source) as reader, duplicate(target) as writer, _pipe() as (inlet, outlet):
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
                    await ready(reader, writing=False, seconds=silence)
                    continue
            try:
                held -= os.splice(outlet, writer, held, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
            except BlockingIOError:
                await ready(writer, writing=True, seconds=None)
            await asyncio.sleep(0)


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
