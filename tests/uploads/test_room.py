from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusterodm_py.core.errors import LimitReached
from clusterodm_py.uploads.disk import Disk
from clusterodm_py.uploads.room import REMEASURE, Room, SpoolPolicy

MB = 1024 * 1024


class Free:
    """The free space a disk reports, as a test wants it."""

    def __init__(self) -> None:
        self.bytes = 10 * REMEASURE
        self.asked = 0

    def __call__(self, folder: Path) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(free=self.bytes)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Free:
    reported = Free()
    monkeypatch.setattr(shutil, "disk_usage", reported)
    return reported


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    opened = Disk()
    yield opened
    opened.close()


async def test_the_quota_is_exact(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=10), disk)
    await room.take(10)
    with pytest.raises(LimitReached, match="uploads may take"):
        await room.take(1)
    assert room.used == 10
    room.give_back(3)
    await room.take(3)


async def test_the_quota_is_exact_for_all_at_once(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=50), disk)
    outcomes = await asyncio.gather(*(room.take(1) for _ in range(100)), return_exceptions=True)
    assert room.used == outcomes.count(None) == 50


async def test_admission_looks_at_the_disk_and_takes_nothing(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=MB, floor=100), disk)
    free.bytes = 300
    await room.admit(200)
    assert room.used == 0
    with pytest.raises(LimitReached, match="must stay free"):
        await room.admit(201)
    with pytest.raises(LimitReached, match="uploads may take"):
        await room.admit(MB + 1)


async def test_what_was_taken_since_counts_against_the_floor(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(floor=10), disk)
    free.bytes = 30
    await room.take(15)
    free.bytes = 15  # as it is now that they were written
    await room.take(5)
    free.bytes = 10
    with pytest.raises(LimitReached, match="must stay free"):
        await room.take(1)


async def test_the_disk_is_not_asked_at_every_step(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(), disk)
    for _ in range(256):
        await room.take(MB // 4)
    assert free.asked == 1


async def test_a_disk_that_others_fill_is_noticed(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(floor=MB), disk)
    await room.take(1)
    free.bytes = MB
    takes = (room.take(MB) for _ in range(2 * REMEASURE // MB))
    outcomes = await asyncio.gather(*takes, return_exceptions=True)
    assert isinstance(outcomes[-1], LimitReached)
    assert room.used <= REMEASURE + MB


async def test_space_that_was_freed_is_noticed_at_once(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(floor=MB), disk)
    free.bytes = 2 * MB
    await room.take(MB)
    free.bytes = 3 * MB
    await room.take(2 * MB)
