"""A node that answers tasks with any bytes a test likes, and remembers who connected and what was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

TASK = "0a1b2c3d-0000-4000-8000-000000000001"
"""The task it has."""

INFO = {
    "version": "2.2.4",
    "taskQueueCount": 1,
    "totalMemory": 1 << 30,
    "availableMemory": 1 << 30,
    "cpuCores": 1,
    "maxImages": None,
    "maxParallelTasks": 2,
    "engineVersion": "3.5.6",
    "engine": "odm",
}

TASK_INFO = {
    "uuid": TASK,
    "name": "raw",
    "dateCreated": 1700000000000,
    "processingTime": 5,
    "status": {"code": 20},
    "options": [],
    "imagesCount": 3,
    "progress": 10,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    number: int
    """Which one it is on its connection, from 0."""
    connection: asyncio.StreamReader

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Script: TypeAlias = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def ok(body: bytes, kind: str = "application/json", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class RawNode:
    """Answers `/info` and its task's like a NodeODM; everything with a path in `scripts` as they do."""

    scripts: dict[str, Script] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Connections at this moment."""

    def answers(self, path: str, script: Script) -> None:
        self.scripts[f"/task/{TASK}/{path}"] = script

    def times(self, path: str) -> int:
        """How often it was asked for a path of its task."""
        return sum(asked.path == f"/task/{TASK}/{path}" for asked in self.asked)

    def last(self, path: str) -> Asked:
        return next(asked for asked in reversed(self.asked) if asked.path == f"/task/{TASK}/{path}")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._writers: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Close every connection, as a node does that starts anew."""
        for writer in self._writers:
            writer.transport.abort()

    def data_folder(self, folder: Path) -> Path:
        """A ClusterODM's, by which this node has the task."""
        folder.mkdir()
        node = {"hostname": "127.0.0.1", "port": self.port, "token": "nodetok"}
        (folder / "nodes.json").write_text(json.dumps([node]))
        (folder / "routes.json").write_text(json.dumps({TASK: {"node": node, "accessed": 1}}))
        return folder

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        number = 0
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked = await _read(reader, number)
                number += 1
                self.asked.append(asked)
                await self.scripts.get(asked.path, _like_a_node)(asked, writer)
                if writer.is_closing():
                    break
                await writer.drain()
        self.open -= 1
        self._writers.discard(writer)
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, number: int) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, target, headers, body, number, reader)


async def _like_a_node(asked: Asked, writer: asyncio.StreamWriter) -> None:
    known: dict[str, Any] = {
        "/info": INFO,
        "/options": [],
        f"/task/{TASK}/info": TASK_INFO,
        f"/task/{TASK}/output": ["one", "two"],
    }
    writer.write(ok(json.dumps(known.get(asked.path, {"error": "no"})).encode()))
