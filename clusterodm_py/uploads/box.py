"""One task's files in the spool: their names, how many, how large. Knows nothing of requests or forms."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext
from typing import Final, ParamSpec, TypeVar

from clusterodm_py.core import limits
from clusterodm_py.core.errors import UnknownTask
from clusterodm_py.core.filenames import safe_name, unique_name
from clusterodm_py.core.types import Limits
from clusterodm_py.uploads.disk import Disk, PartialFile, Pieces
from clusterodm_py.uploads.room import Room, Share

P = ParamSpec("P")
T = TypeVar("T")

BATCH: Final = 128 * 1024
"""Bytes gathered before they are handed to a thread: what one upload holds in memory."""

_CRUMB: Final = 4096
"""Smaller pieces are joined, or a slow client's many tiny ones would take far more memory than their bytes."""

_MANY: Final = 100
"""Equal names after which the search for a free one starts at their number, not at the first again."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A whole file of a task."""

    name: str
    path: Path
    size: int


class Box:
    """A folder `files` of whole files and a folder `partial` of arriving ones, until `end`.

    What is in them is known here without asking the disk; names are handed out here and nowhere else.
    """

    def __init__(self, folder: Path, disk: Disk, room: Room, sizes: Mapping[str, int]) -> None:
        self.folder = folder
        self._disk = disk
        self.share = Share(room, sum(sizes.values()))
        self._sizes = dict(sizes)
        self._order = list(sizes)
        """Whole files in the order they became so."""
        self._news = asyncio.Event()
        self._names = set(sizes)
        self._copies: Counter[str] = Counter()
        self._arriving = 0
        self._ended = False
        self._jobs = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def files(self) -> tuple[SpooledFile, ...]:
        """The whole files by name."""
        return tuple(SpooledFile(name, self.path(name), self._sizes[name]) for name in sorted(self._sizes))

    @property
    def count(self) -> int:
        """How many files are whole."""
        return len(self._order)

    def file(self, number: int) -> SpooledFile:
        """A whole file by the order in which they became whole, from 0."""
        name = self._order[number]
        return SpooledFile(name, self.path(name), self._sizes[name])

    async def news(self) -> None:
        """Wait until a file became whole, a feed was closed or the box ended."""
        await self._news.wait()

    def announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def path(self, name: str) -> Path:
        return self.folder / "files" / name

    def begin(self, filename: str, most: int | None) -> Arrival:
        """A file called `filename` begins to arrive. Raises LimitReached when it would be one more than `most`."""
        limits.check_images(len(self._sizes) + self._arriving + 1, Limits(max_images=most))
        arrival = Arrival(self, self.claim(safe_name(filename)), self._disk.partial(self.folder / "partial"))
        self._arriving += 1
        return arrival

    def claim(self, wanted: str) -> str:
        """A name that nobody else has or will get."""
        self._copies[wanted] += 1
        copies = self._copies[wanted]
        name = unique_name(wanted if copies <= _MANY else _numbered(wanted, copies), self._names)
        self._names.add(name)
        return name

    def keep(self, name: str, size: int) -> None:
        """An arrival became a whole file."""
        self._arriving -= 1
        self._sizes[name] = size
        self._order.append(name)
        self.announce()

    def release(self, name: str, size: int) -> None:
        """An arrival did not become one: its name, its place in the count and its bytes are free again."""
        self._arriving -= 1
        self._names.discard(name)
        self.share.give_back(size)

    async def take_room(self, count: int) -> None:
        """Raises LimitReached when `count` more bytes do not fit, UnknownTask when the task is gone."""
        await self.share.take(count)
        self.check()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do disk work in the folder. Raises UnknownTask when it is gone, or was gone before the work ended."""
        self.check()
        self._jobs += 1
        self._idle.clear()
        try:
            done = await self._disk.run(work, *args, **kwargs)
        finally:
            self._jobs -= 1
            if not self._jobs:
                self._idle.set()
        self.check()
        return done

    def check(self) -> None:
        """Raises UnknownTask once the box has ended."""
        if self._ended:
            raise UnknownTask("Invalid taskId: the task no longer exists.")

    async def drop(self, file: PartialFile) -> None:
        """Forget a file that did not become whole, also after the end."""
        await self._disk.run(file.drop)

    def end(self) -> None:
        """Nothing more is stored, and the room is free again."""
        self._ended = True
        self.announce()
        self.share.end()

    async def idle(self) -> None:
        """Wait until no work in the folder is under way; after the end that stays so."""
        await self._idle.wait()


class Arrival:
    """One file under way: gathered in memory, written under a number, whole under its name."""

    def __init__(self, box: Box, name: str, file: PartialFile) -> None:
        self._box = box
        self._name = name
        self._file = file
        self._gathered: list[bytes | bytearray] = []
        self._waiting = 0
        self._size = 0

    async def take(self, data: bytes) -> None:
        self._gather(data)
        self._waiting += len(data)
        if self._waiting >= BATCH:
            await self._box.run(self._file.write, await self._next_batch())

    async def finish(self) -> SpooledFile:
        """The file, whole on disk under a name no other has."""
        try:
            await self._place()
        finally:
            if self._file.placed:  # also when cancelled: then it is there all the same
                self._box.keep(self._name, self._size)
        return SpooledFile(self._name, self._box.path(self._name), self._size)

    async def abandon(self) -> None:
        """Forget the file, unless it became whole."""
        if not self._file.placed:
            self._box.release(self._name, self._size)
            await self._box.drop(self._file)

    async def _place(self) -> None:
        batch = await self._next_batch()
        placed = await self._box.run(self._file.finish, batch, self._box.path(self._name))
        while not placed:
            self._name = self._box.claim(self._name)
            placed = await self._box.run(self._file.place, self._box.path(self._name))

    async def _next_batch(self) -> Pieces:
        """What was gathered, once there is room for it."""
        await self._box.take_room(self._waiting)
        self._size += self._waiting
        batch, self._gathered, self._waiting = self._gathered, [], 0
        return batch

    def _gather(self, data: bytes) -> None:
        if len(data) >= _CRUMB:
            self._gathered.append(data)
        elif self._gathered and isinstance(self._gathered[-1], bytearray):
            self._gathered[-1] += data
        else:
            self._gathered.append(bytearray(data))


def _numbered(name: str, number: int) -> str:
    """A name made of `name`, a safe one, short enough to be safe itself."""
    stem, extension = splitext(name)
    return f"{stem[:25]}_{number}{extension if len(extension) <= 32 else ''}"
