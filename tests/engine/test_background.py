"""Work that outlives its call: named, logged when it fails, and ended with the program."""

from __future__ import annotations

import asyncio
import gc

import pytest

from clusterodm_py.engine.background import Background, woken


async def test_a_failure_is_logged_by_name_and_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("broken")

    async def works() -> None:
        done.set()

    async with Background() as background:
        background.start("the weak one", fails())
        background.start("the other", works())
        await asyncio.wait_for(done.wait(), 5)
    assert "the weak one" in caplog.text


async def test_leaving_ends_what_runs_and_what_that_starts_in_its_last_moment() -> None:
    ended: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def heir() -> None:
        try:
            await forever("first")
        finally:
            background.start("second", forever("second"))
            await asyncio.sleep(0)

    async with (
        asyncio.timeout(5),
        Background() as background,
    ):
        background.start("heir", heir())
        await asyncio.sleep(0)
    assert ended[0] == "first"


async def test_work_cancelled_before_it_began_leaves_no_warning() -> None:
    async def never() -> None:
        raise AssertionError

    async with Background() as background:
        background.start("never", never()).cancel()
    gc.collect()


async def test_an_error_inside_leaves_as_it_is() -> None:
    async def enter_and_fail() -> None:
        async with Background() as background:
            background.start("waits", asyncio.Event().wait())
            raise KeyError

    with pytest.raises(KeyError):
        await enter_and_fail()


@pytest.mark.parametrize("steps", range(4))
async def test_what_is_woken_and_cancelled_at_the_same_moment_is_cancelled(steps: int) -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(woken(event, 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    event.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    returned = waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert returned or waiting.cancelled()


async def test_waiting_ends_in_time_without_a_word() -> None:
    await woken(asyncio.Event(), 0.001)
