"""A simulated node as one object: `async with SimulatedNode(Behaviour(...)) as node`, in the loop that enters it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from clusterodm_py.core.types import Json
from clusterodm_py.simulated.behaviour import Behaviour
from clusterodm_py.simulated.faults import Faults
from clusterodm_py.simulated.folders import Folders
from clusterodm_py.simulated.processing import Processing
from clusterodm_py.simulated.server import Server
from clusterodm_py.simulated.submission import Submission
from clusterodm_py.simulated.tasks import SimulatedTask
from clusterodm_py.simulated.webhook import call_webhooks
from clusterodm_py.simulated.work import Work

_NEVER_WAIT = 0.01
"""Seconds that requests still served get when the node goes."""


def wall_clock() -> float:
    """Unix time. A simulated node is a program of its own, so it has a clock of its own."""
    return datetime.now(UTC).timestamp()


class SimulatedNode:
    """Listens while it is entered. With a `work_dir`, tasks are known again after a clean exit."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        self.host = host
        self.port = port
        """The real one, once entered."""
        self._faults = Faults(behaviour or Behaviour())
        self._clock = clock
        self._stack = AsyncExitStack()
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def tasks(self) -> Mapping[str, SimulatedTask]:
        """Committed tasks by id."""
        return self._processing.tasks

    @property
    def behaviour(self) -> Behaviour:
        return self._faults.behaviour

    def change(self, **switches: float | str | bool | None) -> None:
        """Change switches while running; counts of faults begin anew. Raises BadRequest."""
        self._faults.change(dict(switches))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def go_offline(self) -> None:
        """Refuse connections and break those there are; processing goes on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def go_online(self) -> None:
        """Listen again at the same port; with `forget_tasks`, as a node that crashed in between."""
        if self.behaviour.forget_tasks:
            self._processing.forget()
            self._submission.forget()
        await self._listen()

    async def _start(self, stack: AsyncExitStack) -> None:
        folders = Folders(await asyncio.to_thread(self._root, stack))
        work = await stack.enter_async_context(Work())
        self._processing = Processing(
            faults=self._faults, folders=folders, work=work, clock=self._clock, ended=self._tell
        )
        self._submission = Submission(
            faults=self._faults, folders=folders, processing=self._processing, clock=self._clock
        )
        if self.behaviour.work_dir is not None and not self.behaviour.forget_tasks:
            self._processing.resume(await asyncio.to_thread(self._processing.saved))
            stack.push_async_callback(asyncio.to_thread, self._processing.save)
        server = Server(
            faults=self._faults,
            folders=folders,
            processing=self._processing,
            submission=self._submission,
            clock=self._clock,
        )
        self._runner = web.AppRunner(
            server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=_NEVER_WAIT
        )
        await self._runner.setup()
        stack.push_async_callback(self._runner.cleanup)
        await self._listen()
        stack.push_async_callback(self.go_offline)
        if self.behaviour.offline_after:
            work.start("go offline", self._leave(self.behaviour.offline_after))

    def _root(self, stack: AsyncExitStack) -> Path:
        if self.behaviour.work_dir is not None:
            self.behaviour.work_dir.mkdir(parents=True, exist_ok=True)
            return self.behaviour.work_dir
        folder = tempfile.TemporaryDirectory(prefix="simulated-node-", ignore_cleanup_errors=True)
        return Path(stack.enter_context(folder))

    async def _listen(self) -> None:
        if self._site is not None:
            return
        self._site = web.TCPSite(self._runner, self.host, self.port)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _leave(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.go_offline()

    async def _tell(self, task: SimulatedTask) -> None:
        urls = [url for url in (task.fields.webhook, self.behaviour.webhook) if url]
        body: dict[str, Json] = {**task.info(self._clock()), "images": list(task.images)}
        await call_webhooks(urls, body, self.behaviour.webhook_pause)
