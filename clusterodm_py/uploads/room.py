"""How much more may be stored: quota, free space and budgets, counted before bytes are written. Deletes nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from clusterodm_py.core import limits
from clusterodm_py.core.types import OwnerId
from clusterodm_py.uploads.disk import Disk

Pressed: TypeAlias = Callable[[int], Awaitable[bool]]
"""Asked to make so many bytes go that are on nobody's account, or none; whether they went."""

REMEASURE: Final = 64 * 1024 * 1024
"""Bytes stored after which the free space is measured again: others may fill the disk, too."""

DELETING: Final = 5.0
"""Seconds that an upload without room waits for the disk to delete what was discarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPolicy:
    """How much room there is, and how safe is safe; in bytes."""

    quota: int | None = None
    """All uploads together; None is no quota."""
    token_quota: int | None = None
    """The uploads of one owner that wait for a node, unless the owner has a budget of its own; None is no limit."""
    floor: int = 0
    """What must stay free on the disk."""
    fsync: bool = False
    """Whether an acknowledged file survives a power cut, not only a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """The room at one moment, in bytes."""

    used: int
    """By all uploads, arriving ones included."""
    quota: int | None
    free: int
    """On the disk that holds them."""
    floor: int
    owners: Mapping[OwnerId, int]
    """What counts against each owner's budget; owners with nothing are absent."""


class Room:
    """Bytes taken by all uploads, arriving ones included, and how many of them are on whose account."""

    def __init__(self, folder: Path, policy: SpoolPolicy, disk: Disk, pressed: Pressed | None = None) -> None:
        self._folder = folder
        self._policy = policy
        self._disk = disk
        self._pressed = pressed
        self.used = 0
        self._owners: Counter[OwnerId] = Counter()
        self._taken = 0
        """Bytes ever taken, so that what a measurement cannot have seen yet is known whatever happened meanwhile."""
        self._measured = -REMEASURE
        """What `_taken` was when `_free` was measured."""
        self._free = 0
        self._relief = asyncio.Lock()
        """Held while somebody is asked to make room: whoever waits for it may find that there is enough by then."""

    def count(self, owner: OwnerId | None, change: int) -> None:
        """So many bytes more, or less, are stored; on nobody's account when `owner` is None."""
        self.used += change
        if owner is not None:
            self._owners[owner] += change
            if not self._owners[owner]:
                del self._owners[owner]

    async def admit(self, incoming: int, owner: OwnerId | None = None, budget: int | None = None) -> None:
        """Raises LimitReached when `incoming` more bytes do not fit, or not even one; takes nothing."""
        incoming = max(1, incoming)
        self._check_budget(incoming, owner, budget)
        await self._measure()
        await self._make_way(incoming)
        self._check(incoming, owner, budget)

    async def take(self, count: int, share: Share) -> None:
        """Make sure that bytes about to be written fit; raises LimitReached when they do not. `share` counts them."""
        self._check_budget(count, share.owner, share.budget)
        if self._taken - self._measured >= REMEASURE or self._now().missing(count):
            await self._measure()
            await self._make_way(count)
        self._check(count, share.owner, share.budget)
        self._taken += count

    async def gauge(self) -> Gauge:
        """The room as it is now; asks the disk."""
        await self._measure()
        room = self._now()
        owners = MappingProxyType(dict(self._owners))
        return Gauge(used=room.used, quota=room.quota, free=room.free, floor=room.floor, owners=owners)

    async def _make_way(self, incoming: int) -> None:
        """Where `incoming` bytes do not fit, see to it that they do, if that can be."""
        if self._now().missing(incoming):
            await self._look_again(incoming)
            async with self._relief:
                while await self._press(incoming) and not self._now().under_floor(incoming):
                    pass  # others may have taken what went; a disk is not asked for more before it deleted that
            if self._now().missing(incoming):  # else it is taken at once, before whoever waits looks
                await self._look_again(incoming)

    async def _look_again(self, incoming: int) -> None:
        """Measure once the disk has deleted what was discarded, if that may help."""
        if self._now().under_floor(incoming):
            await self._disk.swept(DELETING)
        await self._measure()

    async def _press(self, incoming: int) -> bool:
        """Have what is on nobody's account given up, where that is needed and enough; whether it was."""
        await self._measure()
        now = self._now()
        missing = now.missing(incoming)
        if now.under_floor(incoming) and self._disk.sweeping:  # what is being deleted may be enough
            return False
        kept = self.used - self._owners.total()
        return self._pressed is not None and 0 < missing <= kept and await self._pressed(missing)

    async def _measure(self) -> None:
        taken = self._taken
        free = (await self._disk.run(shutil.disk_usage, self._folder)).free
        if taken >= self._measured:  # another one, begun later, may have ended sooner
            self._free, self._measured = free, taken

    def _now(self) -> limits.Disk:
        free = self._free - (self._taken - self._measured)
        return limits.Disk(used=self.used, quota=self._policy.quota, free=free, floor=self._policy.floor)

    def _check(self, incoming: int, owner: OwnerId | None, budget: int | None) -> None:
        self._check_budget(incoming, owner, budget)
        limits.check_disk(self._now(), incoming)

    def _check_budget(self, incoming: int, owner: OwnerId | None, budget: int | None) -> None:
        if owner is not None:
            most = self._policy.token_quota if budget is None else budget
            limits.check_budget(self._owners[owner], most, incoming)


class Share:
    """What one task takes of the room, on its owner's account or on nobody's."""

    def __init__(self, room: Room, size: int, owner: OwnerId | None = None) -> None:
        self._room = room
        self._ended = False
        self.owner = owner
        self.budget: int | None = None
        """What the owner may take; None is what anybody may."""
        self.bytes = 0
        self._add(size)

    async def take(self, count: int) -> None:
        """Count bytes about to be written, unless the share has ended. Raises LimitReached when they do not fit."""
        await self._room.take(count, self)
        if not self._ended:
            self._add(count)

    def give_back(self, count: int) -> None:
        """So many bytes are gone again; after the end there is nothing left to give."""
        self._add(-min(count, self.bytes))

    def charge(self, owner: OwnerId | None) -> None:
        """Move everything to the account of `owner`, whatever its budget."""
        size = self.bytes
        self._add(-size)
        self.owner = owner
        self._add(size)

    def end(self) -> None:
        """All of it is free, for good."""
        self._ended = True
        self._add(-self.bytes)

    def _add(self, change: int) -> None:
        self.bytes += change
        self._room.count(self.owner, change)
