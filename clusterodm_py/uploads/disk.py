"""The blocking calls of the spool, each run in its own threads and never left half done by a cancelled caller."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from clusterodm_py.core.errors import LimitReached

P = ParamSpec("P")
T = TypeVar("T")

_PIECES: Final = 512
"""Pieces of one write; systems take at least 1024."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Disk:
    """Threads for disk work."""

    def __init__(self, threads: int = 8) -> None:
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="spool")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work`. When the caller is cancelled it still ends first, so that its effects are known.

        Raises LimitReached when the disk is full; any other OSError goes on as it is.
        """
        under_way = self._executor.submit(work, *args, **kwargs)
        future = asyncio.wrap_future(under_way)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise LimitReached(
                    "The disk is full: nothing more can be uploaded until other tasks have ended."
                ) from None
            raise

    def close(self) -> None:
        self._executor.shutdown(wait=True)


def create(path: Path, data: Sequence[bytes]) -> int:
    """Make the file `path` with `data` in it; the open descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        append(descriptor, data)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def append(descriptor: int, data: Sequence[bytes]) -> None:
    """Write all pieces of `data` in their order, without joining them first."""
    left = deque(memoryview(piece) for piece in data if piece)
    while left:
        written = os.writev(descriptor, list(islice(left, _PIECES)))
        while left and written >= len(left[0]):
            written -= len(left.popleft())
        if written:
            left[0] = left[0][written:]


def complete(descriptor: int, data: Sequence[bytes], partial: Path, target: Path, fsync: bool) -> None:
    """Write the last bytes and let the file appear as `target`; with `fsync` so that it survives a power cut."""
    try:
        append(descriptor, data)
        if fsync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(target)
    if fsync:
        _sync_folder(target.parent)


def store_whole(data: Sequence[bytes], partial: Path, target: Path, fsync: bool) -> None:
    """A small file in one go."""
    complete(create(partial, ()), data, partial, target, fsync)


def drop(descriptor: int | None, partial: Path) -> None:
    """Forget a file that is not whole."""
    if descriptor is not None:
        os.close(descriptor)
    partial.unlink(missing_ok=True)


def make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def sizes(folder: Path) -> dict[str, int]:
    """The files in `folder`; empty when there is none."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def remove_tree(folder: Path) -> None:
    """Delete everything below; what cannot be deleted now is at the next start."""
    shutil.rmtree(folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
