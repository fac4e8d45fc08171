"""How much more may be stored: quota and free space, counted before bytes are written. Decides nothing else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusterodm_py.core import limits
from clusterodm_py.core.errors import LimitReached
from clusterodm_py.uploads.disk import Disk

REMEASURE: Final = 64 * 1024 * 1024
"""Bytes stored after which the free space is measured again: others may fill the disk, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPolicy:
    """How much room there is, and how safe is safe; in bytes."""

    quota: int | None = None
    """All uploads together; None is no quota."""
    floor: int = 0
    """What must stay free on the disk."""
    fsync: bool = False
    """Whether an acknowledged file survives a power cut, not only a crash."""


class Room:
    """Bytes taken by all uploads, arriving ones included."""

    def __init__(self, folder: Path, policy: SpoolPolicy, disk: Disk) -> None:
        self._folder = folder
        self._policy = policy
        self._disk = disk
        self.used = 0
        self._taken = 0
        """Bytes ever taken, so that what a measurement cannot have seen yet is known whatever happened meanwhile."""
        self._measured = -REMEASURE
        """What `_taken` was when `_free` was measured."""
        self._free = 0

    async def admit(self, incoming: int) -> None:
        """Raises LimitReached when `incoming` more bytes do not fit; takes nothing."""
        await self._measure()
        self._check(incoming)

    async def take(self, count: int) -> None:
        """Count bytes about to be written. Raises LimitReached, having counted nothing, when they do not fit."""
        if self._taken - self._measured >= REMEASURE or not self._fits(count):
            await self._measure()
        self._check(count)
        self.used += count
        self._taken += count

    def give_back(self, count: int) -> None:
        self.used -= count

    async def _measure(self) -> None:
        taken = self._taken
        free = (await self._disk.run(shutil.disk_usage, self._folder)).free
        if taken >= self._measured:  # another one, begun later, may have ended sooner
            self._free, self._measured = free, taken

    def _fits(self, count: int) -> bool:
        try:
            self._check(count)
        except LimitReached:
            return False
        return True

    def _check(self, incoming: int) -> None:
        free = self._free - (self._taken - self._measured)
        room = limits.Disk(used=self.used, quota=self._policy.quota, free=free, floor=self._policy.floor)
        limits.check_disk(room, incoming)
