from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import LimitReached, UnknownTask
from clusterodm_py.uploads import disk as blocking
from clusterodm_py.uploads.box import Box
from clusterodm_py.uploads.disk import Disk
from clusterodm_py.uploads.room import Room, SpoolPolicy


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    """With one thread, so that a test can hold it."""
    opened = Disk(threads=1)
    yield opened
    opened.close()


@pytest.fixture
async def box(tmp_path: Path, disk: Disk) -> Box:
    await disk.make(tmp_path / "files", tmp_path / "partial")
    return Box(tmp_path, disk, Room(tmp_path, SpoolPolicy(), disk), {})


async def turns(number: int = 10) -> None:
    """Let everything that can go on go on."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_work_is_done_off_the_loop_and_answers(disk: Disk) -> None:
    assert await disk.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(FileNotFoundError):
        await disk.run(os.stat, "/nowhere")


async def test_work_whose_caller_is_cancelled_ends_first(disk: Disk) -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(10)
        done.set()

    task = asyncio.ensure_future(disk.run(work))
    for _ in range(3):  # as often as one likes
        await turns()
        task.cancel()
    await turns()
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_work_that_fails_for_a_cancelled_caller_is_not_complained_about(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    def work() -> None:
        gate.wait(10)
        raise OSError

    task = asyncio.ensure_future(disk.run(work))
    await turns()
    task.cancel()
    gate.set()
    with suppress(asyncio.CancelledError):
        await task
    del task
    disk.close()  # the thread lets go of its work
    gc.collect()  # and this is when asyncio complains
    assert caplog.records == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
async def test_a_full_disk_is_a_limit(disk: Disk) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(LimitReached, match=r"takes no more of this upload \(No space left on device\)"):
            await disk.run(os.write, full, b"x")
    finally:
        os.close(full)


async def test_a_file_placed_for_a_cancelled_caller_is_known(box: Box, disk: Disk) -> None:
    gate = threading.Event()
    arrival = box.begin("a.jpg", None)
    await arrival.take(b"12")
    await box.take_room(0)  # measures the disk, which needs the thread
    held = asyncio.ensure_future(disk.run(gate.wait, 10))
    await turns()
    task = asyncio.ensure_future(arrival.finish())
    await turns()
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await held
    await arrival.abandon()
    assert [(file.name, file.path.read_bytes(), file.size) for file in box.files()] == [("a.jpg", b"12", 2)]
    with pytest.raises(LimitReached):
        box.begin("b.jpg", 1)


async def test_a_partial_file_begun_for_a_cancelled_caller_is_closed_and_gone(
    box: Box, disk: Disk, tmp_path: Path
) -> None:
    gate = threading.Event()
    descriptors = len(os.listdir("/dev/fd"))
    arrival = box.begin("a.jpg", None)
    await box.take_room(0)
    held = asyncio.ensure_future(disk.run(gate.wait, 10))
    await turns()
    task = asyncio.ensure_future(arrival.take(b"x" * 1_000_000))
    await turns()
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await held
    assert len(os.listdir("/dev/fd")) == descriptors + 1
    await arrival.abandon()
    assert len(os.listdir("/dev/fd")) == descriptors
    assert os.listdir(tmp_path / "partial") == []
    box.begin("a.jpg", 1)  # the name and the place in the count are free


async def test_the_end_of_a_box_waits_for_the_work_in_it(box: Box, disk: Disk) -> None:
    gate = threading.Event()
    work = asyncio.ensure_future(box.run(gate.wait, 10))
    await turns()
    box.end()
    idle = asyncio.ensure_future(box.idle())
    await turns()
    assert not idle.done()
    gate.set()
    await idle
    with pytest.raises(UnknownTask):
        await work


async def test_after_its_end_no_work_in_a_box_begins(box: Box) -> None:
    ran = threading.Event()
    box.end()
    with pytest.raises(UnknownTask):
        await box.run(ran.set)
    assert not ran.is_set()


async def test_after_many_equal_names_the_number_is_found_without_trying_all(box: Box) -> None:
    names = [box.claim("a.jpg") for _ in range(102)]
    assert names[:3] == ["a.jpg", "a_.jpg", "a__.jpg"]
    assert names[100:] == ["a_101.jpg", "a_102.jpg"]
    assert len(set(names)) == 102


async def test_many_pieces_are_written_in_their_order(tmp_path: Path, disk: Disk) -> None:
    file = disk.partial(tmp_path)
    pieces = [bytes([number % 256]) * (number % 7) for number in range(3000)]
    assert file.finish(pieces, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)


@given(st.lists(st.binary(max_size=4), max_size=6), st.data())
def test_after_a_short_write_the_rest_is_what_follows(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    written = data.draw(st.integers(0, len(whole)))
    left = deque(memoryview(piece) for piece in pieces)
    blocking.advance(left, written)
    assert b"".join(left) == whole[written:]
    assert not left or left[0]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_never_moved_over_another(tmp_path: Path, links: bool) -> None:
    move = blocking.move if links else blocking.move_without_links
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert not move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"b"
    assert move(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


async def test_what_is_left_for_later_does_not_hold_up_the_end(tmp_path: Path) -> None:
    disk, gate, ran = Disk(), threading.Event(), threading.Event()
    disk.later(gate.wait, 10)
    disk.later(ran.set)
    closing = asyncio.ensure_future(asyncio.to_thread(disk.close))
    with suppress(RuntimeError):  # as soon as it closes
        while True:
            disk.later(ran.set)
            await asyncio.sleep(0)
    gate.set()
    await closing
    assert not ran.is_set()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("spool")]
