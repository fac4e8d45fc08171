from __future__ import annotations

import asyncio
import os
import resource
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest, LimitReached, Refused, UnknownTask
from clusterodm_py.core.types import TaskId
from clusterodm_py.uploads import box
from clusterodm_py.uploads.spool import Received, Spool, SpoolPolicy
from harness.bodies import BOUNDARY, field_part, file_head, file_part, form, pieces, stream

TASK = TaskId("11111111-1111-4111-8111-111111111111")
MB = 1024 * 1024
LARGE = 3 * box.BATCH
"""Bytes that are certainly on the disk, most of them, before they have all come."""


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    async with Spool(tmp_path, SpoolPolicy()) as opened:
        await opened.open(TASK)
        yield opened


async def receive(spool: Spool, *chunks: bytes, most: int | None = None) -> Received:
    return await spool.receive(TASK, stream(*chunks), BOUNDARY, max_files=most)


def on_disk(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / TASK / "files").iterdir()}


def arriving(root: Path) -> list[str]:
    return os.listdir(root / TASK / "partial")


async def nothing_but(spool: Spool, root: Path, files: dict[str, bytes]) -> None:
    """Memory and disk agree that there are `files` and nothing else."""
    assert on_disk(root) == files
    known = await spool.files(TASK)
    assert [(file.name, file.path, file.size) for file in known] == [
        (name, root / TASK / "files" / name, len(files[name])) for name in sorted(files)
    ]
    assert arriving(root) == []
    assert spool.usage() == sum(map(len, files.values()))


async def test_files_and_fields_of_one_request_in_any_order(spool: Spool, tmp_path: Path) -> None:
    received = await receive(
        spool, form(file_part("b.jpg", b"22"), field_part("name", b"x"), file_part("a.jpg", b""))
    )
    assert received.fields == {"name": "x"}
    assert [(file.name, file.size) for file in received.files] == [("b.jpg", 2), ("a.jpg", 0)]
    await nothing_but(spool, tmp_path, {"a.jpg": b"", "b.jpg": b"22"})


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(0, 4000), max_size=8),
)
def test_every_file_is_kept_whatever_it_is_called(wanted: list[tuple[str, bytes]], cuts: list[int]) -> None:
    async def check(root: Path) -> None:
        async with Spool(root, SpoolPolicy()) as spool:
            await spool.open(TASK)
            body = form(*(file_part(name, data) for name, data in wanted))
            received = await receive(spool, *pieces(body, cuts))
            assert [file.path.read_bytes() for file in received.files] == [data for _, data in wanted]
            await nothing_but(spool, root, {file.name: file.path.read_bytes() for file in received.files})
            assert len(on_disk(root)) == len(wanted)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


async def test_equal_names_in_one_request_are_all_kept(spool: Spool, tmp_path: Path) -> None:
    await receive(spool, form(*(file_part("a.jpg", bytes([digit])) for digit in range(3))))
    await nothing_but(spool, tmp_path, {"a.jpg": b"\0", "a_.jpg": b"\1", "a__.jpg": b"\2"})


async def test_equal_names_in_parallel_requests_are_all_kept(spool: Spool, tmp_path: Path) -> None:
    bodies = [form(*(file_part("a.jpg", bytes([number, part])) for part in range(5))) for number in range(10)]
    await asyncio.gather(*(receive(spool, body) for body in bodies))
    assert sorted(on_disk(tmp_path).values()) == sorted(bytes([n, p]) for n in range(10) for p in range(5))
    assert len(await spool.files(TASK)) == 50


async def test_more_equal_names_than_underscores_are_worth(spool: Spool) -> None:
    received = await receive(spool, form(*[file_part("x" * 240 + ".jpg", b"1")] * 300))
    assert len({file.name for file in received.files}) == 300


async def test_a_name_that_only_the_disk_knows_is_not_overwritten(spool: Spool, tmp_path: Path) -> None:
    """As with a file system that takes a.jpg and A.jpg for one."""
    for name in ("a.jpg", "a_.jpg"):
        (tmp_path / TASK / "files" / name).write_bytes(b"old")
    (kept,) = (await receive(spool, form(file_part("a.jpg", b"new")))).files
    assert on_disk(tmp_path) == {"a.jpg": b"old", "a_.jpg": b"old", kept.name: b"new"}
    assert await spool.files(TASK) == (kept,)
    assert arriving(tmp_path) == []


async def test_only_whole_files_are_ever_seen(spool: Spool, tmp_path: Path) -> None:
    data = os.urandom(LARGE)
    body = form(file_part("a.jpg", data), file_part("b.jpg", b"12"), file_part("c.jpg", data))
    whole = {"a.jpg": data, "b.jpg": b"12", "c.jpg": data}
    seen: set[int] = set()

    async def watched() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]
            assert on_disk(tmp_path).items() <= whole.items()
            seen.add(len(on_disk(tmp_path)))

    await spool.receive(TASK, watched(), BOUNDARY, max_files=None)
    assert seen == {0, 2, 3}
    await nothing_but(spool, tmp_path, whole)


# -- requests that fail ---------------------------------------------------------------------------------------------


async def test_a_broken_request_leaves_its_whole_files_only(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="not a whole"):
        await receive(spool, file_part("a.jpg", b"1"), file_head("b.jpg"), b"x" * LARGE)
    await nothing_but(spool, tmp_path, {"a.jpg": b"1"})


async def test_a_client_that_goes_away_leaves_its_whole_files_only(spool: Spool, tmp_path: Path) -> None:
    async def lost() -> AsyncIterator[bytes]:
        yield file_part("a.jpg", b"1") + file_head("b.jpg") + b"x" * LARGE
        assert len(arriving(tmp_path)) == 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await spool.receive(TASK, lost(), BOUNDARY, max_files=None)
    await nothing_but(spool, tmp_path, {"a.jpg": b"1"})


async def test_another_field_is_refused_at_once_and_named(spool: Spool, tmp_path: Path) -> None:
    taken = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal taken
        yield file_part("a.jpg", b"1") + file_head("b.jpg", field="foo")
        for number in range(1000):
            taken = number + 1
            yield b"x" * 1000

    with pytest.raises(BadRequest, match=r"Unexpected field 'foo'.*'images'"):
        await spool.receive(TASK, long(), BOUNDARY, max_files=None)
    assert taken == 0
    await nothing_but(spool, tmp_path, {"a.jpg": b"1"})


async def test_fields_are_limited_together_names_included(spool: Spool) -> None:
    with pytest.raises(BadRequest, match="too large together"):
        await receive(spool, *[field_part("f", b"x" * MB)] * 9)
    with pytest.raises(BadRequest, match="too large together"):
        await receive(spool, *(field_part(f"{number}-" + "x" * 4000, b"") for number in range(2200)))


async def test_many_small_fields_cost_no_more_each_than_few(spool: Spool) -> None:
    """Not a measure of speed: summed up anew for each, these would take minutes."""
    async with asyncio.timeout(20):
        received = await receive(spool, form(*(field_part(f"f{n}", b"") for n in range(50_000))))
    assert len(received.fields) == 50_000


async def test_the_last_of_equal_fields_wins(spool: Spool) -> None:
    received = await receive(spool, form(field_part("f", b"1"), field_part("f", b"2")))
    assert received.fields == {"f": "2"}


async def test_an_unknown_task_takes_nothing(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(UnknownTask, match="Invalid taskId"):
        await spool.receive(TaskId("other"), stream(form()), BOUNDARY, max_files=None)


async def test_a_task_that_is_discarded_takes_no_more(spool: Spool, tmp_path: Path) -> None:
    taken = 0

    async def discarded_in_its_middle() -> AsyncIterator[bytes]:
        nonlocal taken
        yield file_head("a.jpg") + b"x" * LARGE
        await spool.discard(TASK)
        for number in range(100):
            taken = number + 1
            yield b"x" * LARGE

    with pytest.raises(UnknownTask):
        await spool.receive(TASK, discarded_in_its_middle(), BOUNDARY, max_files=None)
    assert taken <= 1
    assert spool.usage() == 0
    assert not (tmp_path / TASK).exists()


# -- the disk -------------------------------------------------------------------------------------------------------


async def test_a_disk_that_takes_no_more_is_a_limit_with_a_reason(spool: Spool, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, hard))
    try:
        with pytest.raises(LimitReached, match=r"takes no more of this upload \(File too large\)"):
            await receive(spool, form(file_part("a.jpg", b"1"), file_part("b.jpg", b"x" * 2 * MB)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await nothing_but(spool, tmp_path, {"a.jpg": b"1"})
    await receive(spool, form(file_part("b.jpg", b"2")), most=2)
    await nothing_but(spool, tmp_path, {"a.jpg": b"1", "b.jpg": b"2"})


async def test_with_fsync_a_file_is_safe_before_it_is_seen_and_its_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        what = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)
        files = tmp_path / TASK / "files"
        synced.append((what, os.listdir(files) if files.is_dir() else []))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    async with Spool(tmp_path, SpoolPolicy(fsync=True)) as spool:
        await spool.open(TASK)
        assert {(".", ()), (TASK, ())} <= {(what, tuple(seen)) for what, seen in synced}
        synced.clear()
        await receive(spool, form(file_part("a.jpg", b"x" * LARGE)))
        assert len(synced) == 2
        assert synced[0][0].startswith(f"{TASK}/partial/")
        assert synced[0][1] == []
        assert synced[1] == (f"{TASK}/files", ["a.jpg"])
        await nothing_but(spool, tmp_path, {"a.jpg": b"x" * LARGE})


# -- cancellation ---------------------------------------------------------------------------------------------------


async def cancelled_after(steps: int, work: Awaitable[Received]) -> None:
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_cancelled_at_any_moment_memory_and_disk_agree(spool: Spool, tmp_path: Path) -> None:
    body = form(file_part("a.jpg", b"x" * LARGE), file_part("b.jpg", b"12"))
    descriptors = len(os.listdir("/dev/fd"))
    for steps in range(0, 80, 2):
        await cancelled_after(steps, receive(spool, *pieces(body, [300_000, 600_000])))
        await nothing_but(spool, tmp_path, on_disk(tmp_path))
        assert set(on_disk(tmp_path).values()) <= {b"x" * LARGE, b"12"}
        assert len(os.listdir("/dev/fd")) == descriptors
    await spool.discard(TASK)
    assert spool.usage() == 0


async def test_cancelled_in_the_middle_a_file_leaves_its_name_and_its_place_in_the_count(
    spool: Spool, tmp_path: Path
) -> None:
    reached = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield file_part("a.jpg", b"1") + file_head("b.jpg") + b"x" * LARGE
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(spool.receive(TASK, stuck(), BOUNDARY, max_files=2))
    await reached.wait()
    with pytest.raises(LimitReached):
        await receive(spool, form(file_part("c.jpg", b"3")), most=2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await receive(spool, form(file_part("b.jpg", b"2")), most=2)
    await nothing_but(spool, tmp_path, {"a.jpg": b"1", "b.jpg": b"2"})


# -- limits ---------------------------------------------------------------------------------------------------------


async def test_the_image_limit_is_exact(spool: Spool, tmp_path: Path) -> None:
    files = [file_part(f"{number}.jpg", b"1") for number in range(3)]
    with pytest.raises(LimitReached, match=r"^Max images count exceeded\.$"):
        await receive(spool, form(*files), most=2)
    await nothing_but(spool, tmp_path, {"0.jpg": b"1", "1.jpg": b"1"})


async def test_the_image_limit_is_exact_under_parallel_uploads(spool: Spool) -> None:
    files = [file_part("a.jpg", b"x" * LARGE)] * 5
    outcomes = await asyncio.gather(
        *(receive(spool, *files, form(), most=23) for _ in range(10)), return_exceptions=True
    )
    assert len(await spool.files(TASK)) == 23
    assert {type(outcome) for outcome in outcomes} <= {Received, LimitReached}


@pytest.mark.parametrize("size", [100, 100_000, LARGE])
async def test_the_quota_holds_for_files_of_any_size(tmp_path: Path, size: int) -> None:
    async with Spool(tmp_path, SpoolPolicy(quota=3 * size)) as spool:
        await spool.open(TASK)
        body = [file_part(f"{number}.jpg", b"x" * size) for number in range(4)]
        with pytest.raises(LimitReached, match="uploads may take"):
            await receive(spool, *body, form())
        await nothing_but(spool, tmp_path, {f"{number}.jpg": b"x" * size for number in range(3)})
        await spool.discard(TASK)
        await spool.open(TASK)
        await receive(spool, *body[:3], form())


async def test_the_quota_holds_for_parallel_uploads(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(quota=5 * LARGE)) as spool:
        await spool.open(TASK)
        body = form(*[file_part("a.jpg", b"x" * LARGE)] * 3)
        chunks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
        most = 0

        async def watched() -> AsyncIterator[bytes]:
            nonlocal most
            for chunk in chunks:
                most = max(most, spool.usage())
                yield chunk

        works = (spool.receive(TASK, watched(), BOUNDARY, max_files=None) for _ in range(8))
        outcomes = await asyncio.gather(*works, return_exceptions=True)
        assert any(isinstance(outcome, LimitReached) for outcome in outcomes)
        assert most <= 5 * LARGE
        await nothing_but(spool, tmp_path, on_disk(tmp_path))


async def test_without_free_space_nothing_begins_and_nothing_goes_on(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy(floor=1 << 60)) as spool:
        await spool.open(TASK)
        with pytest.raises(LimitReached, match="must stay free"):
            await spool.admit(0)
        with pytest.raises(LimitReached, match="must stay free"):
            await receive(spool, form(file_part("a.jpg", b"1")))
        await nothing_but(spool, tmp_path, {})


# -- memory ---------------------------------------------------------------------------------------------------------


async def peak(work: Callable[[], Awaitable[object]]) -> int:
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def endless_file(size: int, chunk: int) -> AsyncIterator[bytes]:
    async def body() -> AsyncIterator[bytes]:
        yield file_head("a.jpg")
        for _ in range(size // chunk):
            yield bytes(chunk)
        yield b"\r\n" + form()

    return body()


async def test_two_hundred_megabytes_take_less_than_two(spool: Spool) -> None:
    used = await peak(lambda: spool.receive(TASK, endless_file(200 * MB, 65536), BOUNDARY, max_files=None))
    assert spool.usage() == 200 * MB
    assert used < 2 * MB


async def test_a_hundred_clients_take_less_than_forty_megabytes(spool: Spool) -> None:
    async def work() -> None:
        bodies = [endless_file(2 * MB, 65536) for _ in range(100)]
        await asyncio.gather(*(spool.receive(TASK, body, BOUNDARY, max_files=None) for body in bodies))

    assert await peak(work) < 40 * MB
    assert spool.usage() == 200 * MB


async def test_a_client_that_sends_crumbs_takes_no_more(spool: Spool) -> None:
    used = await peak(lambda: spool.receive(TASK, endless_file(box.BATCH // 2, 2), BOUNDARY, max_files=None))
    assert used < 2 * MB


# -- many -----------------------------------------------------------------------------------------------------------


async def test_ten_thousand_files_in_one_task(spool: Spool) -> None:
    body = form(*(file_part(f"{number:05}.jpg", b"x") for number in range(10_000)))
    received = await receive(spool, *pieces(body, list(range(0, len(body), 65536))))
    assert len(received.files) == len(await spool.files(TASK)) == 10_000


async def test_junk_leaves_nothing_behind(spool: Spool, tmp_path: Path) -> None:
    junk = [
        b"",
        b"{}",
        b"--",
        b"\r\n" * 1000,
        f"--{BOUNDARY}\r\n\r\n1\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\n".encode(),
        file_head("a.jpg")[:-3],
        file_head("a.jpg"),
        file_part("a.jpg", b"1", field="image") + form(),
        field_part("options", b"x" * 2 * MB) + form(),
    ]
    for body in junk:
        async with asyncio.timeout(2):
            with pytest.raises(Refused):
                await receive(spool, body)
        await nothing_but(spool, tmp_path, {})
