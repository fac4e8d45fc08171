"""A simulated node as a process of its own: killed, hung and started again for real."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from harness.proxy import START_SECONDS, free_port


@dataclass
class NodeProcess:
    """`clusterodm simulate-node`. Killed, it knows no task when it is started again: only a clean exit saves them."""

    folder: Path
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        arguments = ("--port", str(self.port), "--work-dir", str(self.folder), *self.flags)
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clusterodm_py", "simulate-node", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        async with asyncio.timeout(START_SECONDS):
            while not await self._listens():
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL, which also ends a process that was stopped."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM: what it knows is saved."""
        assert self.process is not None
        self.process.terminate()
        await self.process.wait()

    def hang(self) -> None:
        """Connections are taken by the kernel, and nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def state(self) -> dict[str, Any]:
        """Its tasks and uploads, as it knows them."""
        async with aiohttp.ClientSession(f"http://{self.address}") as session:
            answer: dict[str, Any] = await (await session.get("/simulated/state")).json()
        return answer

    async def change(self, **switches: float | str | bool) -> None:
        async with aiohttp.ClientSession(f"http://{self.address}") as session:
            await (await session.post("/simulated/faults", json=switches)).json()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True
