"""The blocking calls of the spool, in threads of their own: a slow disk holds up nobody but who waits for it."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeAlias, TypeVar
from uuid import uuid4

from clusterodm_py.core.errors import LimitReached

P = ParamSpec("P")
T = TypeVar("T")

Pieces: TypeAlias = Sequence[bytes | bytearray]
"""Bytes to write one after the other; not joined first, which would be another copy."""

_PIECES: Final = 512
"""Pieces of one write; systems take at least 1024."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class Disk:
    """Threads for disk work. `fsync`: whether what is whole also survives a power cut."""

    def __init__(self, *, fsync: bool = False, threads: int = 8) -> None:
        self._fsync = fsync
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="spool")
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="spool-sweep")
        self._sweep: Future[object] | None = None
        """The newest work of the sweeper; what is older is done before it."""
        self._numbers = itertools.count()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work`. When the caller is cancelled it still ends first, so that its effects are known.

        Raises LimitReached when the disk takes no more; any other OSError goes on as it is.
        """
        job = asyncio.wrap_future(self._workers.submit(work, *args, **kwargs))
        await _ended(job)
        try:
            return job.result()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise LimitReached(
                f"The disk takes no more of this upload ({os.strerror(error.errno)}). Try again when other tasks have "
                "ended, or ask the operator to free space."
            ) from None

    def later(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do `work` soon, one after the other and in no upload's way. What is not begun at `close` is not done."""
        self._sweep = self._sweeper.submit(work, *args, **kwargs)

    @property
    def sweeping(self) -> bool:
        """Whether something that `later` was given is not done yet."""
        return self._sweep is not None and not self._sweep.done()

    async def swept(self, seconds: float) -> None:
        """Wait until what `later` was given is done, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.wrap_future(self._sweeper.submit(lambda: None))

    def partial(self, folder: Path) -> PartialFile:
        """A new file, arriving in `folder` under a number no other has in this process."""
        return PartialFile(folder / str(next(self._numbers)), fsync=self._fsync)

    async def make(self, *folders: Path) -> None:
        """Create what is missing of `folders`; an outer one comes before those in it."""
        await self.run(_make_folders, folders, self._fsync)

    def close(self) -> None:
        """Wait for what is under way. Blocks."""
        self._workers.shutdown(wait=True)
        self._sweeper.shutdown(wait=True, cancel_futures=True)


class PartialFile:
    """A file while it arrives. Its methods block, and are called one after the other."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        self._descriptor: int | None = None
        self.placed = False
        """Whether it is whole, under its name."""

    def write(self, data: Pieces) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        append(self._descriptor, data)

    def finish(self, data: Pieces, target: Path) -> bool:
        """Write the last bytes and let the file appear as `target`; False when that name is taken on the disk."""
        self.write(data)
        if self._fsync and self._descriptor is not None:
            os.fsync(self._descriptor)
        self._close()
        return self.place(target)

    def place(self, target: Path) -> bool:
        """Let the finished file appear as `target`, never over another; False when the name is taken there."""
        if not move(self._path, target):
            return False
        self.placed = True
        if self._fsync:
            _sync_folder(target.parent)
        return True

    def drop(self) -> None:
        """Forget the file that did not become whole."""
        try:
            self._close()
        finally:
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def sizes(folder: Path) -> dict[str, int]:
    """The files in `folder`, in bytes."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file(follow_symlinks=False)}


def throw_away(folder: Path, trash: Path) -> None:
    """Move `folder` into `trash` for `empty` to delete; silent when it is not there. Takes no space on a full disk."""
    with suppress(FileNotFoundError):
        folder.rename(trash / uuid4().hex)


def empty(folder: Path) -> None:
    """Delete everything in `folder`; what cannot be deleted now may be at the next start."""
    for each in folder.iterdir():
        shutil.rmtree(each, ignore_errors=True)


async def _ended(job: asyncio.Future[T]) -> None:
    """Wait for `job`, also when cancelled, and only then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        job.exception()  # looked at, or asyncio complains that nobody did
        raise cancelled


def append(descriptor: int, data: Pieces) -> None:
    """Write all of `data`; a single write may take less than it is given."""
    left = deque(memoryview(piece) for piece in data)
    while left:
        advance(left, os.writev(descriptor, list(itertools.islice(left, _PIECES))))


def advance(left: deque[memoryview], written: int) -> None:
    """Take the first `written` bytes, and what is empty behind them, off `left`."""
    while left and written >= len(left[0]):
        written -= len(left.popleft())
    if left:
        left[0] = left[0][written:]


def move(source: Path, target: Path) -> bool:
    """Rename, never over another file. The names we hand out differ, but case or Unicode forms may make two of them
    one for this file system.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return move_without_links(source, target)
    source.unlink()
    return True


def move_without_links(source: Path, target: Path) -> bool:
    """Second best, where a file system has no hard links: somebody else's file of this very moment is not seen."""
    if target.exists():
        return False
    source.rename(target)
    return True


def _make_folders(folders: Sequence[Path], fsync: bool) -> None:
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if fsync:
            _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
