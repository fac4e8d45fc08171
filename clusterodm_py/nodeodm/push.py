"""Handing one task to a node: init, its files over several connections, commit (contract §5.5).

Knows nothing of retries on other nodes or of what is durable: that is the dispatcher's. Every file is a request of
its own, so a failure never leaves doubt about more than the files then on the wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from clusterodm_py.core.errors import ClusterError, NodeRefused, Unreachable
from clusterodm_py.core.options import options_text
from clusterodm_py.core.types import Json, Node, Task, TaskId
from clusterodm_py.nodeodm.connection import Connection, Unclear, granted, parsed, target
from clusterodm_py.nodeodm.freight import POSSIBLE, Freight, Load

logger = logging.getLogger(__name__)

_CHUNK, _LARGEST_PIECE = 256 * 1024, 1024 * 1024

E = TypeVar("E", bound=Exception)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPolicy:
    """How a push behaves."""

    connections: int = 8
    """Files on the wire at once."""
    bytes_per_second: int = 0
    """Cap of each of these connections; 0 is none (contract §5.5)."""
    file_tries: int = 10
    """How often a file is offered to a node that refuses it but took others of the task."""
    first_tries: int = 4
    """How often, while it took none yet."""
    file_pause: float = 2.0
    """Seconds between these tries, at most; the first ones come sooner."""
    stall_seconds: float = 300.0
    """A connection that moves nothing for this long is given up."""
    commit_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file to hand over, under the name the node shall see."""

    name: str
    path: Path
    size: int


class Pusher:
    """Pushes tasks to nodes. All verbs raise `NodeRefused` or `Unreachable`."""

    def __init__(self, connection: Connection, policy: PushPolicy) -> None:
        self._connection = connection
        self._policy = policy

    async def wipe(self, node: Node, task: TaskId) -> bool:
        """Make the node delete what it holds of an upload that was never committed.

        NodeODM has no such call, but an init that it refuses removes the upload folder of that id, and options that
        are no JSON are always refused. False when the node took them: then what it holds is still there.
        """
        try:
            await self._init(node, task, [("options", "[")])
        except NodeRefused:
            return True
        return False

    async def init(self, node: Node, task: Task) -> None:
        """Announce the task under its own id. A node that has a task of this id already refuses."""
        await self._init(node, task.id, _fields(task))

    async def deliver(self, node: Node, task: TaskId, parcels: AsyncIterable[Parcel]) -> None:
        """Send every parcel, as they come.

        Raises NodeRefused when the node keeps refusing one, Unreachable when a connection broke: then files that were
        on the wire may or may not have arrived. What `parcels` raises goes on.
        """
        try:
            async with Freight(node.address) as freight, asyncio.TaskGroup() as group:
                delivery = _Delivery(aiter(parcels), freight)
                for _ in range(self._policy.connections):
                    group.create_task(self._drain(node, task, delivery))
        except* (
            ClusterError
        ) as troubles:  # one clause: connections may fail in different ways at the same time
            raise _first(troubles) from None

    async def commit(self, node: Node, task: TaskId) -> None:
        """Tell the node to go. Unreachable, and an answer that does not confirm, leave open whether it will."""
        answer = await self._connection.json(
            node, "POST", f"/task/new/commit/{task}", seconds=self._policy.commit_seconds
        )
        if _says(granted(answer), "uuid") != task:
            raise Unclear("did not confirm the commit")

    async def _drain(self, node: Node, task: TaskId, delivery: _Delivery) -> None:
        while (parcel := await delivery.next()) is not None:
            await self._offer(node, task, parcel, delivery)
            delivery.taken += 1

    async def _offer(self, node: Node, task: TaskId, parcel: Parcel, delivery: _Delivery) -> None:
        tries = 0
        while True:
            try:
                return await self._send(node, task, parcel, delivery.freight)
            except (NodeRefused, Unclear) as error:
                tries += 1
                if tries >= (self._policy.file_tries if delivery.taken else self._policy.first_tries):
                    raise
                logger.info("task=%s node=%s refused %s: %s", task, node.id, parcel.name, error)
            await asyncio.sleep(min(self._policy.file_pause, 0.25 * 2**tries))

    async def _send(self, node: Node, task: TaskId, parcel: Parcel, freight: Freight) -> None:
        timer = asyncio.timeout(self._policy.stall_seconds)
        path = f"/task/new/upload/{task}"
        try:
            async with timer, _opened(parcel) as file:
                if POSSIBLE and not node.address.tls:
                    answer = await self._shipped(node, path, parcel, file, timer, freight=freight)
                else:
                    answer = await self._streamed(node, path, parcel, file, timer)
        except TimeoutError:
            raise Unreachable(f"took no data for {self._policy.stall_seconds:g} s") from None
        if not _says(granted(answer), "success"):
            raise NodeRefused(f"did not acknowledge {parcel.name}")

    async def _shipped(
        self,
        node: Node,
        path: str,
        parcel: Parcel,
        file: BinaryIO,
        timer: asyncio.Timeout,
        *,
        freight: Freight,
    ) -> Json:
        """From the disk to the socket without coming by."""
        head, tail, headers = _envelope(parcel)
        host = node.address.url.partition("//")[2]
        lines = [f"POST {target(node, path)} HTTP/1.1", f"Host: {host}", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        piece = self._piece()
        load = Load(
            head="\r\n".join([*lines, "", ""]).encode() + head,
            file=file,
            size=parcel.size,
            tail=tail,
            piece=piece,
        )
        answer = await freight.send(load, lambda count: self._moved(count, timer))
        return parsed(answer.status, answer.body)

    async def _streamed(
        self, node: Node, path: str, parcel: Parcel, file: BinaryIO, timer: asyncio.Timeout
    ) -> Json:
        head, tail, headers = _envelope(parcel)
        body = self._body(head, file, parcel.size, tail, timer)
        return await self._connection.json(node, "POST", path, headers=headers, data=body, seconds=None)

    async def _body(
        self, head: bytes, file: BinaryIO, left: int, tail: bytes, timer: asyncio.Timeout
    ) -> AsyncIterator[bytes]:
        yield head
        while left:
            chunk = await asyncio.to_thread(file.read, min(left, _CHUNK, self._piece()))
            if not chunk:  # sent what there is, the node would wait for the rest for ever
                raise OSError("the file is shorter here than it was")
            left -= len(chunk)
            yield chunk
            await self._moved(len(chunk), timer)
        yield tail

    def _piece(self) -> int:
        """Bytes between two pauses: a fraction of a second's worth, or a slow upload would look like a stalled one."""
        cap = self._policy.bytes_per_second
        return max(1, min(_LARGEST_PIECE, cap // 4)) if cap else _LARGEST_PIECE

    async def _moved(self, count: int, timer: asyncio.Timeout) -> None:
        """So many bytes more are on their way: the connection is alive, and may have to pause (contract §5.5)."""
        pause = count / self._policy.bytes_per_second if self._policy.bytes_per_second else 0.0
        timer.reschedule(asyncio.get_running_loop().time() + pause + self._policy.stall_seconds)
        if pause:
            await asyncio.sleep(pause)

    async def _init(self, node: Node, task: TaskId, fields: Iterable[tuple[str, str]]) -> None:
        boundary = uuid4().hex
        headers = {"set-uuid": str(task), "Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = await self._connection.json(
            node, "POST", "/task/new/init", headers=headers, data=_form(fields, boundary)
        )
        if _says(granted(answer), "uuid") != task:
            raise NodeRefused("did not accept the task under its id")


@dataclass(slots=True)
class _Delivery:
    """The files of one upload, shared by its connections."""

    waiting: AsyncIterator[Parcel]
    freight: Freight
    taken: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """An async generator cannot be asked by two at once."""

    async def next(self) -> Parcel | None:
        async with self.turn:
            return await anext(self.waiting, None)


async def each(parcels: Iterable[Parcel]) -> AsyncIterator[Parcel]:
    """Parcels that are all there, for `deliver`."""
    for parcel in parcels:
        yield parcel


@asynccontextmanager
async def _opened(parcel: Parcel) -> AsyncIterator[BinaryIO]:
    """The parcel's file, closed at the end, though a cancelled request may still be reading or even opening it."""
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, parcel.path.open, "rb")
    try:
        try:
            file = await asyncio.shield(opening)
        except OSError as error:
            raise Unreachable(f"{parcel.name} cannot be read here: {error.strerror}") from None
        yield file
    finally:
        while not opening.done():  # cancelled in the middle: what a thread opens now is ours to close
            with suppress(asyncio.CancelledError):
                await asyncio.wait([opening])
        _close(opening, loop)


def _close(opened: asyncio.Future[BufferedReader], loop: asyncio.AbstractEventLoop) -> None:
    if not opened.cancelled() and opened.exception() is None and not loop.is_closed():
        loop.run_in_executor(None, opened.result().close)  # not here: it waits for a read that is under way


def _first(group: BaseExceptionGroup[E]) -> E:
    """One error in `group`; the others are of its kind."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")


def _says(answer: Json, key: str) -> Json:
    return answer.get(key) if isinstance(answer, dict) else None


def _fields(task: Task) -> list[tuple[str, str]]:
    """The fields of init (contract §5.5); optional ones only when the client gave them."""
    request = task.request
    created = request.date_created if request.date_created is not None else round(task.created * 1000)
    fields = [
        ("name", request.name),
        ("options", options_text(task.options)),
        ("dateCreated", str(created)),
    ]
    if request.skip_post_processing:
        fields.append(("skipPostProcessing", "true"))
    if request.webhook:
        fields.append(("webhook", request.webhook))
    if request.outputs:
        fields.append(("outputs", request.outputs))
    return fields


def _form(fields: Iterable[tuple[str, str]], boundary: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields
    ]
    return ("".join(parts) + f"--{boundary}--\r\n").encode()


def _envelope(parcel: Parcel) -> tuple[bytes, bytes, dict[str, str]]:
    """What stands before and after a file's bytes in its request, and the request's headers."""
    boundary = uuid4().hex
    name = parcel.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + parcel.size + len(tail)),
    }
    return head, tail, headers
