"""Named background work inside one TaskGroup: kept, logged when it fails, ended with the program; and its waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)


class Background:
    """Owns every task that outlives the call that started it.

    An async context manager: leaving it cancels what still runs and waits for it. A failing piece of work is logged
    with its name and ends alone; it never takes the others along.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:  # what is started by what is ending, too
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)
        # The group is not told of `error`: it would wrap it, and nobody outside knows that there is a group.
        await self._group.__aexit__(None, None, None)

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Run `work` under `name` until it ends or is cancelled."""
        task = self._group.create_task(self._guarded(name, work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # for one that was cancelled before it began
        return task

    async def _guarded(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            logger.exception("background work failed: %s", name)


async def woken(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, after `seconds` at the latest.

    Not `asyncio.wait_for`: before Python 3.12 that forgets to be cancelled when the event is set at the same moment.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
