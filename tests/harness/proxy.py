"""The real program as a subprocess: started on free ports, killed for real, started again on the same data."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

START_SECONDS = 20.0


_FIRST, _SHARE = 10_000, 2_000
"""Below what the system gives out by itself, a share for each process of the test run."""

_offsets = itertools.cycle(range(_SHARE))


def free_port() -> int:
    """A port nobody else is given meanwhile: a proxy that is started again must find it free."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for offset in _offsets:
        port = _FIRST + worker * _SHARE + offset
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the offsets never end")


@dataclass
class ProxyProcess:
    """`clusterodm` on its own data folder. Entering starts it, leaving kills it and closes the client session."""

    data: Path
    nodes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    cli_port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.data.parent / f"{self.data.name}.log").read_text()

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=30))
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()
        await self.kill()

    async def start(self) -> None:
        arguments = [
            *("--port", str(self.port), "--admin-cli-port", str(self.cli_port), "--admin-web-port", "0"),
            *("--data-dir", str(self.data), "--host", "127.0.0.1", "--poll-interval", "1"),
            *(part for node in self.nodes for part in ("--node", node)),
            *self.flags,
        ]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "clusterodm_py", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.env,
                cwd=self.data.parent,
            )
        await self._listening()

    async def _listening(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self.process.returncode is not None:
                    raise AssertionError(f"the proxy ended at once:\n{self.log}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    async def kill(self) -> None:
        """SIGKILL: nothing is said goodbye to."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self.process.wait()

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON answer to a GET, which must be an HTTP 200."""
        async with self.session.get(path, **options) as response:
            assert response.status == 200, (response.status, await response.text())
            return await response.json(content_type=None)

    async def post(self, path: str, **options: Any) -> Any:
        """The JSON answer to a POST, which must be an HTTP 200."""
        async with self.session.post(path, **options) as response:
            assert response.status == 200, (response.status, await response.text())
            return await response.json(content_type=None)
