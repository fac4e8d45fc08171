"""Files of a task given out while further ones arrive: each whole file once, whoever asks and when."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.errors import UnknownTask
from clusterodm_py.core.types import TaskId
from clusterodm_py.uploads.spool import Feed, Spool, SpoolPolicy
from harness.bodies import BOUNDARY, file_part, form, stream

TASK = TaskId("11111111-1111-4111-8111-111111111111")


async def put(spool: Spool, *names: str) -> None:
    body = form(*(file_part(name, name.encode()) for name in names))
    await spool.receive(TASK, stream(body), BOUNDARY, max_files=None)


async def taken(feed: Feed) -> list[str]:
    return [file.name async for file in feed]


async def test_a_late_consumer_catches_up_and_goes_on(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.open(TASK)
        await put(spool, "b.jpg", "a.jpg")
        feed = spool.feed(TASK)
        taking = asyncio.create_task(taken(feed))
        await put(spool, "c.jpg")
        feed.close()
        assert await taking == ["b.jpg", "a.jpg", "c.jpg"]


async def test_a_feed_waits_for_files_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.open(TASK)
        feed = spool.feed(TASK)
        taking = asyncio.create_task(taken(feed))
        await asyncio.sleep(0)
        assert not taking.done()
        feed.close()
        assert await taking == []
        await put(spool, "late.jpg")
        assert await taken(feed) == []


async def test_a_discarded_task_ends_its_feeds(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.open(TASK)
        taking = asyncio.create_task(taken(spool.feed(TASK)))
        await asyncio.sleep(0)
        await spool.discard(TASK)
        with pytest.raises(UnknownTask):
            await taking
        with pytest.raises(UnknownTask):
            spool.feed(TASK)


async def test_after_a_restart_a_feed_has_what_was_whole(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        await spool.open(TASK)
        await put(spool, "a.jpg", "b.jpg")
    async with Spool(tmp_path, SpoolPolicy()) as spool:
        feed = spool.feed(TASK)
        feed.close()
        assert sorted(await taken(feed)) == ["a.jpg", "b.jpg"]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_every_file_is_given_out_once_whatever_comes_between(
    requests: list[int], consumers: int, closed_after: int
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with Spool(Path(folder), SpoolPolicy()) as spool:
                await spool.open(TASK)
                first, second = spool.feed(TASK), spool.feed(TASK)
                shared = [asyncio.create_task(taken(first)) for _ in range(consumers)]
                alone = asyncio.create_task(taken(second))
                whole: list[str] = []
                for number, count in enumerate(requests):
                    if number == closed_after:
                        first.close()
                        whole = [file.name for file in await spool.files(TASK)]
                    if count:
                        await put(spool, *(f"{number}-{one}.jpg" for one in range(count)))
                if len(requests) <= closed_after:
                    whole = [file.name for file in await spool.files(TASK)]
                first.close()
                second.close()
                given_out = [name for each in await asyncio.gather(*shared) for name in each]
                assert sorted(given_out) == sorted(whole)
                assert sorted(await alone) == sorted(file.name for file in await spool.files(TASK))

    asyncio.run(run())
