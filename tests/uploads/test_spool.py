from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from clusterodm_py.core.errors import LimitReached, UnknownTask
from clusterodm_py.core.types import TaskId
from clusterodm_py.uploads import box
from clusterodm_py.uploads.spool import Spool, SpoolPolicy
from harness.bodies import BOUNDARY, file_head, file_part, form, stream

ONE, TWO = TaskId("11111111-1111-4111-8111-111111111111"), TaskId("22222222-2222-4222-8222-22222222222A")


async def put(spool: Spool, task: TaskId, **files: bytes) -> None:
    await spool.open(task)
    body = form(*(file_part(f"{name}.jpg", data) for name, data in files.items()))
    await spool.receive(task, stream(body), BOUNDARY, max_files=None)


async def names(spool: Spool, task: TaskId) -> list[str]:
    return [file.name for file in await spool.files(task)]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def trash(root: Path) -> list[str]:
    return os.listdir(root / ".discarded")


async def test_whole_files_are_there_after_a_restart(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, b=b"22", a=b"1")
        await put(spool, TWO, a=b"333")
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.sweep({ONE, TWO})
        assert [(file.name, file.path.read_bytes()) for file in await spool.files(ONE)] == [
            ("a.jpg", b"1"),
            ("b.jpg", b"22"),
        ]
        assert spool.usage() == 6


async def test_names_and_limits_count_what_was_there_before(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
    async with Spool(tmp_path, SpoolPolicy(quota=3)) as spool:
        body = form(file_part("a.jpg", b"2"))
        await spool.receive(ONE, stream(body), BOUNDARY, max_files=2)
        assert await names(spool, ONE) == ["a.jpg", "a_.jpg"]
        with pytest.raises(LimitReached, match="Max images"):
            await spool.receive(ONE, stream(body), BOUNDARY, max_files=2)
        with pytest.raises(LimitReached, match="uploads may take"):
            await spool.admit(2)


async def test_what_was_arriving_in_a_crash_is_gone_at_the_next_start(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
    (tmp_path / ONE / "partial" / "7").write_bytes(b"half")
    os.link(
        tmp_path / ONE / "files" / "a.jpg", tmp_path / ONE / "partial" / "8"
    )  # died between link and unlink
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        assert os.listdir(tmp_path / ONE / "partial") == []
        assert spool.usage() == 1
        await put(spool, ONE, b=b"2")
        assert await names(spool, ONE) == ["a.jpg", "b.jpg"]


async def test_a_folder_without_its_partial_one_is_used_again(tmp_path: Path) -> None:
    (tmp_path / ONE / "files").mkdir(parents=True)
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        assert await names(spool, ONE) == ["a.jpg"]


async def test_opening_twice_keeps_the_files(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        await asyncio.gather(spool.open(ONE), spool.open(ONE), spool.open(TWO), spool.open(TWO))
        assert await names(spool, ONE) == ["a.jpg"]
        assert await names(spool, TWO) == []


async def test_files_are_for_nobody_else_on_the_machine(tmp_path: Path) -> None:
    async with Spool(tmp_path / "spool", SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


# -- discard --------------------------------------------------------------------------------------------------------


async def test_discarded_files_are_away_and_their_room_is_free(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        await put(spool, TWO, a=b"22")
        await spool.discard(ONE)
        assert not (tmp_path / ONE).exists()
        assert await spool.files(ONE) == ()
        assert spool.usage() == 2
        with pytest.raises(UnknownTask):
            await spool.receive(ONE, stream(form()), BOUNDARY, max_files=None)
        await until(lambda: trash(tmp_path) == [])


async def test_discarding_again_or_the_unknown_changes_nothing(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        await asyncio.gather(spool.discard(ONE), spool.discard(ONE), spool.discard(TWO))
        await spool.discard(ONE)
        assert spool.usage() == 0


async def test_a_task_whose_folder_somebody_deleted_can_be_discarded(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        (tmp_path / ONE).rename(tmp_path / "elsewhere")
        await spool.discard(ONE)
        assert spool.usage() == 0


async def test_an_id_that_is_used_again_at_once_gets_nothing_of_its_former_life(tmp_path: Path) -> None:
    """Every request that was under way may end anywhere but in the new task."""
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        for steps in range(0, 60, 3):
            await put(spool, ONE, new=b"1")
            old = form(*[file_part("old.jpg", b"x" * box.BATCH)] * 4)
            chunks = [old[start : start + 200_000] for start in range(0, len(old), 200_000)]
            work = spool.receive(ONE, stream(*chunks), BOUNDARY, max_files=None)
            request = asyncio.ensure_future(work)
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.gather(spool.discard(ONE), put(spool, ONE, new=b"1"))
            await asyncio.gather(request, return_exceptions=True)
            assert os.listdir(tmp_path / ONE / "files") == await names(spool, ONE) == ["new.jpg"]
            assert spool.usage() == 1
            await spool.discard(ONE)


async def test_a_request_that_is_stuck_does_not_keep_a_discarded_task(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.open(ONE)
        reached = asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield file_head("a.jpg") + b"x" * 2 * box.BATCH
            reached.set()
            await asyncio.Event().wait()

        request = asyncio.ensure_future(spool.receive(ONE, stuck(), BOUNDARY, max_files=None))
        await reached.wait()
        assert spool.usage() == 2 * box.BATCH
        await spool.discard(ONE)
        assert spool.usage() == 0
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        assert spool.usage() == 0


# -- sweep ----------------------------------------------------------------------------------------------------------


async def test_the_sweep_deletes_what_belongs_to_no_task(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        await put(spool, TWO, a=b"22")
    (tmp_path / ".discarded" / "half" / "deleted").mkdir(parents=True)
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.sweep([TWO])
        assert not (tmp_path / ONE).exists()
        assert await names(spool, TWO) == ["a.jpg"]
        assert spool.usage() == 2
        await until(lambda: trash(tmp_path) == [])


async def test_the_sweep_touches_nothing_that_is_not_ours(tmp_path: Path) -> None:
    """A folder of the operator's with other things in it, such as ClusterODM's own `tmp`."""
    theirs = ["photos/files/a.jpg", f"{ONE}/a.jpg", f"{ONE}/body.json", "a.txt", ".trash/b.txt"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.sweep([])
        await until(lambda: trash(tmp_path) == [])
    assert all((tmp_path / name).read_bytes() == b"x" for name in theirs)


# -- the end --------------------------------------------------------------------------------------------------------


async def test_leaving_waits_for_the_disk_and_ends_its_threads(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await put(spool, ONE, a=b"1")
        await spool.discard(ONE)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("spool")]
