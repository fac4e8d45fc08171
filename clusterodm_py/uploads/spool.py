"""Where uploads wait for their node: one folder per task, whole files only, within quota and free space.

    <root>/<task>/files/NAME      whole, under a name no other file of the task has
    <root>/<task>/partial/N       arriving
    <root>/.trash/N               being deleted

Names and sizes are kept in memory and read from the folders once, at the start: ten thousand files in one task cost
ten thousand look-ups in a set, not as many listings.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import AsyncIterable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clusterodm_py.core import limits
from clusterodm_py.core.errors import BadRequest, UnknownTask
from clusterodm_py.core.filenames import safe_name, unique_name
from clusterodm_py.core.types import Limits, TaskId
from clusterodm_py.uploads import disk
from clusterodm_py.uploads.disk import Disk
from clusterodm_py.uploads.multipart import Field, FileData, FileEnd, FileStart, Part, parts

logger = logging.getLogger(__name__)

FIELD: Final = "images"
"""The form field files come under (contract §1.8)."""

BATCH: Final = 128 * 1024
"""Bytes gathered before they are handed to a thread: what one upload holds in memory."""

RECHECK: Final = 64 * 1024 * 1024
"""Bytes of one file after which quota and free space are looked at again."""

_FIELDS_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPolicy:
    """How much room there is, and how safe is safe; in bytes."""

    quota: int | None = None
    """All uploads together; None is no quota."""
    floor: int = 0
    """What must stay free on the disk."""
    fsync: bool = False
    """Whether an acknowledged file survives a power cut, not only a crash."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A whole file of a task."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Received:
    """What one request brought."""

    files: tuple[SpooledFile, ...]
    fields: dict[str, str]


@dataclass(slots=True)
class _Box:
    """One task's files."""

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    arriving: set[str] = field(default_factory=set)

    def claim(self, filename: str, most: int | None) -> str:
        """A name nobody else has. Raises LimitReached when it would be one file too many."""
        limits.check_images(len(self.sizes) + len(self.arriving) + 1, Limits(max_images=most))
        name = unique_name(safe_name(filename), self.sizes.keys() | self.arriving)
        self.arriving.add(name)
        return name


class Spool:
    """An async context manager: entering reads what is there, leaving waits for the disk."""

    def __init__(self, root: Path, policy: SpoolPolicy) -> None:
        self._root = root
        self._trash = root / ".trash"
        self._policy = policy
        self._disk = Disk()
        self._boxes: dict[TaskId, _Box] = {}
        self._numbers = itertools.count()
        self._used = 0

    async def __aenter__(self) -> Self:
        await self._disk.run(disk.make_folders, self._root, self._trash)
        self._boxes = await self._disk.run(self._read_folders)
        self._used = sum(sum(box.sizes.values()) for box in self._boxes.values())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disk.close()

    async def open(self, task: TaskId) -> None:
        """Make room for the files of `task`."""
        folder = self._root / task
        await self._disk.run(disk.make_folders, folder / "files", folder / "partial")
        self._boxes.setdefault(task, _Box(folder))

    async def files(self, task: TaskId) -> tuple[SpooledFile, ...]:
        """The whole files of `task` by name; none for a task that is not there."""
        box = self._boxes.get(task)
        return tuple(_spooled(box, name) for name in sorted(box.sizes)) if box else ()

    def usage(self) -> int:
        """Bytes taken by all uploads."""
        return self._used

    async def admit(self, incoming: int) -> None:
        """Raises LimitReached when `incoming` more bytes do not fit."""
        free = (await self._disk.run(shutil.disk_usage, self._root)).free
        room = limits.Disk(used=self._used, quota=self._policy.quota, free=free, floor=self._policy.floor)
        limits.check_disk(room, incoming)

    async def receive(
        self, task: TaskId, stream: AsyncIterable[bytes], boundary: str, *, max_files: int | None
    ) -> Received:
        """Store the files of one request; each is whole on disk when this returns.

        Files that were whole before the request failed stay; the one that was arriving does not. Raises UnknownTask,
        BadRequest (a broken body, a file under another field), LimitReached (one file too many, no room).
        """
        box = self._boxes.get(task)
        if box is None:
            raise UnknownTask("Invalid taskId: the task no longer exists.")
        request = _Request(self, box, max_files)
        try:
            async for part in parts(stream, boundary):
                await request.take(part)
        except FileNotFoundError:  # discarded while it was arriving
            raise UnknownTask("Invalid taskId: the task no longer exists.") from None
        finally:
            await request.abandon()
        return Received(tuple(request.files), request.fields)

    async def discard(self, task: TaskId) -> None:
        """Delete the files of `task`; silent when there are none. They are out of the way when this returns."""
        box = self._boxes.pop(task, None)
        if box is not None:
            self._used -= sum(box.sizes.values())
            await self._disk.run(self._throw_away, box.folder)

    async def sweep(self, keep: Collection[TaskId]) -> None:
        """Delete what belongs to no task in `keep`, and what was arriving when we died."""
        orphans = self._boxes.keys() - set(keep)
        for task in orphans:
            logger.info("task=%s its upload belongs to no task any more and is deleted", task)
            await self.discard(task)
        await self._disk.run(self._clear_leftovers)

    def spent(self, count: int) -> None:
        """Note `count` bytes written, or given back when negative."""
        self._used += count

    def begin(self, box: _Box, name: str, filename: str, most: int | None) -> _Arriving:
        """A file of a request begins. Raises BadRequest at another field, LimitReached at one file too many."""
        if name != FIELD:
            raise BadRequest(f"Unexpected field '{name}': send files under the field '{FIELD}'.")
        partial = box.folder / "partial" / str(next(self._numbers))
        return _Arriving(
            spool=self,
            threads=self._disk,
            box=box,
            name=box.claim(filename, most),
            partial=partial,
            fsync=self._policy.fsync,
        )

    def _read_folders(self) -> dict[TaskId, _Box]:
        folders = [folder for folder in self._root.iterdir() if folder.is_dir() and folder != self._trash]
        for folder in folders:
            disk.remove_tree(folder / "partial")
            disk.make_folders(folder / "files", folder / "partial")
        return {TaskId(folder.name): _Box(folder, disk.sizes(folder / "files")) for folder in folders}

    def _clear_leftovers(self) -> None:
        disk.remove_tree(self._trash)
        disk.make_folders(self._trash)

    def _throw_away(self, folder: Path) -> None:
        grave = self._trash / f"{folder.name}-{next(self._numbers)}"
        try:
            folder.rename(grave)
        except FileNotFoundError:
            return
        disk.remove_tree(grave)


class _Request:
    """What one request has brought so far, and the file it is in the middle of."""

    def __init__(self, spool: Spool, box: _Box, most: int | None) -> None:
        self._spool = spool
        self._box = box
        self._most = most
        self._arriving: _Arriving | None = None
        self.files: list[SpooledFile] = []
        self.fields: dict[str, str] = {}

    async def take(self, part: Part) -> None:
        match part:
            case FileStart(field=name, filename=filename):
                self._arriving = self._spool.begin(self._box, name, filename, self._most)
            case FileData(data=data) if self._arriving is not None:
                await self._arriving.take(data)
            case FileEnd() if self._arriving is not None:
                self.files.append(await self._arriving.finish())
                self._arriving = None
            case Field(name=name, value=value):
                self.fields[name] = value
                _check_fields(self.fields)

    async def abandon(self) -> None:
        """Drop the file that did not become whole, if there is one."""
        if self._arriving is not None:
            await self._arriving.abandon()


class _Arriving:
    """One file under way: memory first, then a partial file, then the file."""

    def __init__(
        self, *, spool: Spool, threads: Disk, box: _Box, name: str, partial: Path, fsync: bool
    ) -> None:
        self._spool = spool
        self._disk = threads
        self._box = box
        self._name = name
        self._partial = partial
        self._fsync = fsync
        self._descriptor: int | None = None
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._checked = 0

    async def take(self, data: bytes) -> None:
        self._gathered.append(data)
        self._waiting += len(data)
        if self._waiting < BATCH:
            return
        batch = self._next_batch()
        if self._size - self._checked > RECHECK:
            self._checked = self._size
            await self._spool.admit(0)
        if self._descriptor is None:
            self._descriptor = await self._disk.run(disk.create, self._partial, batch)
        else:
            await self._disk.run(disk.append, self._descriptor, batch)

    async def finish(self) -> SpooledFile:
        batch = self._next_batch()
        target = self._box.folder / "files" / self._name
        if self._descriptor is None:
            await self._disk.run(disk.store_whole, batch, self._partial, target, self._fsync)
        else:
            descriptor, self._descriptor = self._descriptor, None
            await self._disk.run(disk.complete, descriptor, batch, self._partial, target, self._fsync)
        self._box.arriving.discard(self._name)
        self._box.sizes[self._name] = self._size
        return _spooled(self._box, self._name)

    async def abandon(self) -> None:
        self._spool.spent(-self._size)
        await self._disk.run(disk.drop, self._descriptor, self._partial)
        self._box.arriving.discard(self._name)

    def _next_batch(self) -> list[bytes]:
        batch, self._gathered = self._gathered, []
        self._size += self._waiting
        self._spool.spent(self._waiting)
        self._waiting = 0
        return batch


def _spooled(box: _Box, name: str) -> SpooledFile:
    return SpooledFile(name, box.folder / "files" / name, box.sizes[name])


def _check_fields(fields: dict[str, str]) -> None:
    if sum(len(value) for value in fields.values()) > _FIELDS_BYTES:
        raise BadRequest("The form's fields are too large together.")
