"""Where uploads wait for their node: one folder per task, whole files only, within quota and free space.

    <root>/<task>/files/NAME      whole, under a name no other file of the task has
    <root>/<task>/partial/N       arriving
    <root>/.discarded/N           being deleted

What is there is read once, at the start, and known from then on. Nothing else in the root is ever touched.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from clusterodm_py.core.errors import UnknownTask
from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.core.wire import valid_uuid
from clusterodm_py.uploads import disk
from clusterodm_py.uploads.box import Box, SpooledFile
from clusterodm_py.uploads.disk import Disk
from clusterodm_py.uploads.feed import Feed
from clusterodm_py.uploads.receive import Received, receive
from clusterodm_py.uploads.room import Gauge, Pressed, Room, SpoolPolicy

__all__ = ["Feed", "Gauge", "Received", "Spool", "SpoolPolicy", "SpooledFile"]

logger = logging.getLogger(__name__)


class Spool:
    """An async context manager: entering reads what is there, leaving waits for the disk."""

    def __init__(self, root: Path, policy: SpoolPolicy) -> None:
        self._root = root
        self._trash = root / ".discarded"
        self._disk = Disk(fsync=policy.fsync)
        self.pressed: Pressed | None = None
        """Asked to discard uploads of running tasks, so many bytes or none, before another is refused for want of room;
        whether they went. Never asked twice at the same time. Set by whoever knows which tasks run.
        """
        self._room = Room(root, policy, self._disk, self._press)
        self._boxes: dict[TaskId, Box] = {}
        self._changes = asyncio.Lock()
        """Held while a task's folder comes or goes: an id that is used again must not meet its own removal."""

    async def __aenter__(self) -> Self:
        await self._disk.make(self._root, self._trash)
        for task, sizes in (await self._disk.run(_read, self._root)).items():
            self._boxes[task] = Box(self._root / task, self._disk, self._room, sizes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._disk.close)

    async def open(self, task: TaskId, owner: OwnerId | None = None) -> None:
        """Make a place for the files of `task`, which count against the budget of `owner`; those it has stay."""
        async with self._changes:
            if task in self._boxes:
                return
            folder = self._root / task
            await self._disk.run(disk.throw_away, folder, self._trash)  # left by a discard that was cut short
            await self._disk.make(folder, folder / "files", folder / "partial")
            self._boxes[task] = Box(folder, self._disk, self._room, {})
            self.assign(task, owner)

    def assign(self, task: TaskId, owner: OwnerId | None) -> None:
        """From now on the files of `task` count against the budget of `owner`, be it enough or not; None: against
        nobody's. Silent when there are none.
        """
        if box := self._boxes.get(task):
            box.share.charge(owner)

    def settle(self, task: TaskId) -> None:
        """The task is on a node: its files, kept lest that is lost, count against nobody's budget any more."""
        self.assign(task, None)

    def has(self, task: TaskId) -> bool:
        """Whether there is a place for the files of `task`."""
        return task in self._boxes

    def size(self, task: TaskId) -> int:
        """Bytes that `task` takes here, arriving ones included."""
        box = self._boxes.get(task)
        return box.share.bytes if box else 0

    async def files(self, task: TaskId) -> tuple[SpooledFile, ...]:
        """The whole files of `task` by name; none for a task that is not there."""
        box = self._boxes.get(task)
        return box.files() if box else ()

    def feed(self, task: TaskId) -> Feed:
        """The files of `task`, those that are still to come included. Raises UnknownTask when it has no place here."""
        box = self._boxes.get(task)
        if box is None:
            raise UnknownTask("Invalid taskId: the task no longer exists.")
        return Feed(box)

    def usage(self) -> int:
        """Bytes taken by all uploads, arriving ones included."""
        return self._room.used

    async def gauge(self) -> Gauge:
        """How much room there is, and who takes it."""
        return await self._room.gauge()

    async def admit(self, incoming: int, owner: OwnerId | None = None, budget: int | None = None) -> None:
        """Raises LimitReached when `incoming` more bytes of `owner` do not fit, or not even one.

        `budget` is what all files of the owner may take that count against it; None is what the policy says.
        """
        await self._room.admit(incoming, owner, budget)

    async def receive(
        self,
        task: TaskId,
        stream: AsyncIterable[bytes],
        boundary: str,
        *,
        max_files: int | None,
        budget: int | None = None,
    ) -> Received:
        """Store the files of one request; each is whole on disk when this returns.

        Files that were whole before the request failed stay; the one that was arriving does not. Raises UnknownTask
        (also when the task is discarded meanwhile), BadRequest (a broken body, a file under another field) and
        LimitReached (one file more than `max_files`, no room; `budget` is as for `admit`).
        """
        box = self._boxes.get(task)
        if box is None:
            raise UnknownTask("Invalid taskId: the task no longer exists.")
        box.share.budget = budget
        return await receive(box, stream, boundary, max_files)

    async def discard(self, task: TaskId) -> None:
        """Forget the files of `task`; silent when there are none. They are out of the way, and their room is free, when
        this returns; the disk deletes them soon after.
        """
        box = self._boxes.pop(task, None)
        if box is None:
            return
        box.end()
        async with self._changes:
            await box.idle()
            await self._disk.run(disk.throw_away, box.folder, self._trash)
        self._disk.later(disk.empty, self._trash)

    async def sweep(self, keep: Collection[TaskId]) -> None:
        """Forget what belongs to no task in `keep`, and what was being deleted when we died."""
        for task in self._boxes.keys() - set(keep):
            logger.info("task=%s its upload belongs to no task any more and is deleted", task)
            await self.discard(task)
        self._disk.later(disk.empty, self._trash)

    async def _press(self, missing: int) -> bool:
        return self.pressed is not None and await self.pressed(missing)


def _read(root: Path) -> Mapping[TaskId, dict[str, int]]:
    """The tasks in `root` and the sizes of their whole files; what was arriving when we died is deleted, and so is the
    empty folder of a task that was just to get its place.
    """
    for folder in root.iterdir():
        if valid_uuid(folder.name):
            with suppress(OSError):  # not empty
                folder.rmdir()
    found = {TaskId(folder.name): folder for folder in root.iterdir() if _is_ours(folder)}
    for folder in found.values():
        shutil.rmtree(folder / "partial", ignore_errors=True)
        (folder / "partial").mkdir(mode=0o700, exist_ok=True)
    return {task: disk.sizes(folder / "files") for task, folder in found.items()}


def _is_ours(folder: Path) -> bool:
    """An operator may have pointed us at a folder that holds other things, too."""
    return valid_uuid(folder.name) and (folder / "files").is_dir()
