from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusterodm_py.core.errors import LimitReached
from clusterodm_py.core.types import OwnerId
from clusterodm_py.uploads import room as subject
from clusterodm_py.uploads.disk import Disk
from clusterodm_py.uploads.room import REMEASURE, Gauge, Room, Share, SpoolPolicy

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
    share = Share(room, 0)
    await share.take(10)
    with pytest.raises(LimitReached, match="uploads may take"):
        await share.take(1)
    assert room.used == 10
    share.give_back(3)
    await share.take(3)


async def test_the_quota_is_exact_for_all_at_once(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=50), disk)
    share = Share(room, 0)
    outcomes = await asyncio.gather(*(share.take(1) for _ in range(100)), return_exceptions=True)
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
    share = Share(room, 0)
    free.bytes = 30
    await share.take(15)
    free.bytes = 15  # as it is now that they were written
    await share.take(5)
    free.bytes = 10
    with pytest.raises(LimitReached, match="must stay free"):
        await share.take(1)


async def test_the_disk_is_not_asked_at_every_step(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(), disk)
    share = Share(room, 0)
    for _ in range(256):
        await share.take(MB // 4)
    assert free.asked == 1


async def test_a_disk_that_others_fill_is_noticed(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(floor=MB), disk)
    share = Share(room, 0)
    await share.take(1)
    free.bytes = MB
    takes = (share.take(MB) for _ in range(2 * REMEASURE // MB))
    outcomes = await asyncio.gather(*takes, return_exceptions=True)
    assert isinstance(outcomes[-1], LimitReached)
    assert room.used <= REMEASURE + MB


async def test_space_that_was_freed_is_noticed_at_once(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(floor=MB), disk)
    share = Share(room, 0)
    free.bytes = 2 * MB
    await share.take(MB)
    free.bytes = 3 * MB
    await share.take(2 * MB)


async def test_a_full_spool_admits_nothing_not_even_an_upload_of_unknown_size(
    tmp_path: Path, disk: Disk, free: Free
) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=10), disk)
    share = Share(room, 9)
    await room.admit(0)
    await share.take(1)
    with pytest.raises(LimitReached, match=r"at least 1 byte more: .* 10 bytes are taken"):
        await room.admit(0)


async def test_a_share_that_ends_while_it_waits_for_the_disk_takes_nothing(
    tmp_path: Path, disk: Disk, free: Free
) -> None:
    room = Room(tmp_path, SpoolPolicy(), disk)
    share = Share(room, 5)
    taking = asyncio.ensure_future(share.take(10))
    await asyncio.sleep(0)
    share.end()
    await taking
    share.give_back(10)
    assert (room.used, share.bytes) == (0, 0)


# -- pressure -------------------------------------------------------------------------------------------------------

ANN = OwnerId("ann")


class Kept:
    """Uploads of running tasks, on nobody's account, that are given up when the room asks."""

    def __init__(self, tmp_path: Path, policy: SpoolPolicy, disk: Disk, *sizes: int) -> None:
        self.room = Room(tmp_path, policy, disk, self.give)
        self.shares = [Share(self.room, size) for size in sizes]
        self.asked: list[int] = []
        self.deleting: threading.Event | None = None
        self.free: Free | None = None
        self._disk = disk

    async def give(self, missing: int) -> bool:
        self.asked.append(missing)
        for _ in range(20):  # others get to ask meanwhile
            await self._disk.run(lambda: None)
        while missing > 0:
            share = self.shares.pop(0)
            missing -= share.bytes
            self._disk.later(self._delete, share.bytes)
            share.end()
        return True

    def _delete(self, size: int) -> None:
        if self.deleting is not None:
            self.deleting.wait(10)
        if self.free is not None:
            self.free.bytes += size


async def test_kept_uploads_go_before_a_new_one_is_refused(tmp_path: Path, disk: Disk, free: Free) -> None:
    kept = Kept(tmp_path, SpoolPolicy(quota=100), disk, 30, 30, 30)
    new = Share(kept.room, 0, ANN)
    await new.take(10)
    assert kept.asked == []
    await new.take(5)
    assert (kept.asked, kept.room.used) == ([5], 75)
    await kept.room.admit(70, ANN)
    assert (kept.asked, kept.room.used) == ([5, 45], 15)


async def test_nothing_is_asked_for_that_would_not_be_enough(tmp_path: Path, disk: Disk, free: Free) -> None:
    kept = Kept(tmp_path, SpoolPolicy(quota=100), disk, 40)
    new = Share(kept.room, 60, ANN)
    for ask in (kept.room.admit(41, ANN), new.take(41)):
        with pytest.raises(LimitReached, match="uploads may take"):
            await ask
    assert kept.asked == []
    await kept.room.admit(40, ANN)
    assert kept.asked == [40]


async def test_a_disk_that_other_programs_filled_costs_no_kept_upload(
    tmp_path: Path, disk: Disk, free: Free
) -> None:
    kept = Kept(tmp_path, SpoolPolicy(floor=1000), disk, 40)
    kept.free = free
    free.bytes = 960
    with pytest.raises(LimitReached, match="must stay free"):
        await kept.room.admit(1)
    assert kept.asked == []
    free.bytes = 961
    await kept.room.admit(1)
    assert kept.asked == [40]


async def test_a_budget_is_no_reason_to_give_up_what_others_keep(
    tmp_path: Path, disk: Disk, free: Free
) -> None:
    kept = Kept(tmp_path, SpoolPolicy(quota=100, token_quota=50), disk, 60)
    new = Share(kept.room, 40, ANN)
    with pytest.raises(LimitReached, match="this token may take 50 bytes"):
        await kept.room.admit(20, ANN)
    with pytest.raises(LimitReached, match="this token may take 50 bytes"):
        await new.take(20)
    assert kept.asked == []


async def test_many_at_once_ask_once(tmp_path: Path, disk: Disk, free: Free) -> None:
    kept = Kept(tmp_path, SpoolPolicy(quota=100), disk, 50, 50)
    shares = [Share(kept.room, 0, ANN) for _ in range(20)]
    await asyncio.gather(*(share.take(2) for share in shares))
    assert kept.asked == [2]
    assert kept.room.used == 90


async def test_what_is_being_deleted_is_waited_for_before_more_is_given_up(
    tmp_path: Path, disk: Disk, free: Free, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "DELETING", 0.05)
    kept = Kept(tmp_path, SpoolPolicy(floor=1000), disk, 50, 50)
    kept.deleting, kept.free = threading.Event(), free
    free.bytes = 1000
    for _ in range(3):
        with pytest.raises(LimitReached, match="must stay free"):
            await kept.room.admit(10)
    assert kept.asked == [10]
    kept.deleting.set()
    await kept.room.admit(10)
    assert kept.asked == [10]


async def test_a_disk_that_frees_nothing_costs_one_kept_upload_and_not_all(
    tmp_path: Path, disk: Disk, free: Free
) -> None:
    kept = Kept(tmp_path, SpoolPolicy(floor=1000), disk, 50, 50, 50)
    free.bytes = 1000
    with pytest.raises(LimitReached, match="must stay free"):
        await kept.room.admit(10)
    assert kept.asked == [10]


async def test_a_gauge_tells_what_there_is_and_whose_it_is(tmp_path: Path, disk: Disk, free: Free) -> None:
    room = Room(tmp_path, SpoolPolicy(quota=1000, floor=7), disk)
    shares = [
        Share(room, size, owner) for size, owner in [(5, ANN), (6, ANN), (7, OwnerId("bob")), (8, None)]
    ]
    free.bytes = 500
    shares[2].end()
    assert await room.gauge() == Gauge(used=19, quota=1000, free=500, floor=7, owners={ANN: 11})
