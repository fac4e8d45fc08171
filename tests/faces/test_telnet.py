from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterodm_py.core.commands import Command, Document, Help, Lines, NodeList, Ok, Reply
from clusterodm_py.core.console import HELP
from clusterodm_py.core.types import (
    NOBODY,
    Health,
    Json,
    Node,
    NodeId,
    NodeInfo,
    NodeView,
    Task,
    TaskId,
    TaskRequest,
    TaskState,
    Token,
)
from clusterodm_py.engine.admin import Admin
from clusterodm_py.faces.telnet import SessionLimits, TelnetFace
from clusterodm_py.store.memory import MemoryStore

UUID: Final = TaskId("11111111-2222-4333-8444-aaaaaaaaaaaa")
OPEN: Final = Token("")
PASSWORD: Final = Token("correct horse")
AT_ONCE: Final = SessionLimits(wrong_password=0.0)
PATIENCE: Final = 10.0


@dataclass
class Client:
    """A scripted operator; every wait ends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def name(self) -> str:
        host, port = self.writer.get_extra_info("sockname")
        return f"::ffff:{host}:{port}"

    def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)

    async def expect(self, text: str) -> None:
        """Read as many bytes as `text` has: they are those."""
        async with asyncio.timeout(PATIENCE):
            try:
                got = await self.reader.readexactly(len(text.encode()))
            except asyncio.IncompleteReadError as error:
                got = error.partial
        assert got.decode() == text

    async def rest(self) -> str:
        """All that comes until the face closes."""
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.read()).decode()

    async def until(self, prompt: str) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(prompt.encode())).decode().removesuffix(prompt)

    async def ask(self, line: str) -> str:
        self.send(f"{line}\r\n")
        return await self.until("#> ")


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def yes(_: Command) -> Reply:
    return Ok()


def face_of(
    execute: Callable[[Command], Awaitable[Reply]] = yes,
    *,
    password: Token = OPEN,
    limits: SessionLimits = AT_ONCE,
) -> TelnetFace:
    return TelnetFace(execute, port=0, password=password, version="1.2.3", limits=limits)


@asynccontextmanager
async def session(
    execute: Callable[[Command], Awaitable[Reply]] = yes,
    *,
    password: Token = OPEN,
    limits: SessionLimits = AT_ONCE,
) -> AsyncIterator[Client]:
    """A connected client, greeted."""
    async with face_of(execute, password=password, limits=limits) as port, client_of(port) as client:
        await client.until("$> " if password else "#> ")
        yield client


# -- the session: contract §7.2, C94, C97 -----------------------------------------------------------------------------


async def own_lines(task: Task) -> Sequence[str]:
    return task.lines


async def test_an_open_console_greets_and_prompts() -> None:
    async with face_of() as port, client_of(port) as client:
        await client.expect(f"Welcome {client.name} ClusterODM:1.2.3\r\nHELP for help\r\nQUIT to quit\r\n#> ")
        client.send("QUIT\r\n")
        assert await client.rest() == "Bye!\r\n"


async def test_a_guarded_console_asks_for_the_password() -> None:
    async with face_of(password=PASSWORD) as port, client_of(port) as client:
        await client.expect(
            f"Welcome {client.name} ClusterODM:1.2.3\r\nLOGIN <LOGIN> to log-in\r\nQUIT to quit\r\n$> "
        )
        client.send("login correct horse\r\nHELP\r\n")
        await client.expect("OK\r\nHELP for help\r\n#> OK\r\n#> ")


@pytest.mark.parametrize(
    "line", ["LOGIN wrong", "LOGIN", "LOGIN ", "login correct", "NODE LIST", "HELP", "!!", ""]
)
async def test_anything_but_the_password_closes_without_a_byte(line: str) -> None:
    async with session(password=PASSWORD) as client:
        client.send(f"{line}\r\nLOGIN correct horse\r\nHELP\r\n")
        assert await client.rest() == ""


@pytest.mark.parametrize("password", [OPEN, PASSWORD])
@pytest.mark.parametrize("line", ["QUIT", "quit", "Quit now"])
async def test_quit_says_goodbye_in_any_state(password: Token, line: str) -> None:
    async with session(password=password) as client:
        client.send(f"{line}\r\nHELP\r\n")
        assert await client.rest() == "Bye!\r\n"


async def test_login_is_invalid_once_logged_in() -> None:
    async with session() as client:
        assert await client.ask("LOGIN correct horse") == "INVALID\r\n"


async def test_a_wrong_password_waits_and_delays_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    slow = SessionLimits(wrong_password=3600.0)
    async with (
        face_of(password=PASSWORD, limits=slow) as port,
        client_of(port) as wrong,
        client_of(port) as right,
    ):
        wrong.send("LOGIN s3cret\r\n")
        right.send("LOGIN correct horse\r\n")
        assert (await right.until("#> ")).endswith("$> OK\r\nHELP for help\r\n")
        await wrong.until("$> ")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrong.reader.read(1), 0.05)
    assert f"wrong password from {wrong.name}" in caplog.text
    assert "s3cret" not in caplog.text


async def test_without_a_password_only_this_machine_may_connect() -> None:
    async with face_of(password=OPEN) as port:
        with pytest.raises(ConnectionRefusedError):  # another address of this machine stands for the network
            await asyncio.open_connection("127.0.0.2", port)


async def test_with_a_password_every_interface_is_served() -> None:
    async with face_of(password=PASSWORD) as port:
        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()


# -- repeating --------------------------------------------------------------------------------------------------------


async def test_bangs_repeat_the_last_line_even_a_failed_one() -> None:
    done: list[Command] = []

    async def note(command: Command) -> Reply:
        done.append(command)
        return Ok()

    async with session(note) as client:
        assert await client.ask("!!") == "INVALID\r\n"
        assert await client.ask("NODE LIST") == "OK\r\n"
        assert await client.ask("!!") == await client.ask("!! ") == "OK\r\n"
        assert await client.ask("FOO") == await client.ask("!!") == "INVALID\r\n"
    assert done == [NodeList()] * 3


async def test_bangs_after_login_repeat_nothing() -> None:
    async with session(password=PASSWORD) as client:
        client.send("LOGIN correct horse\r\n!!\r\n")
        await client.expect("OK\r\nHELP for help\r\n#> INVALID\r\n#> ")


# -- framing ----------------------------------------------------------------------------------------------------------

BLOCK: Final = b"NODE LIST\r\nFOO\n\xff\xfd\x06HELP\r\0\r\n!!\nTASK OUTPUT x\xc3\xa9\rQUIT\r\nHELP\r\n"


async def label(command: Command) -> Reply:
    return Lines((type(command).__name__,))


async def transcript(*packets: bytes) -> str:
    async with session(label) as client:
        for packet in packets:
            client.send(packet)
            await client.writer.drain()
            await asyncio.sleep(0)
        return await client.rest()


async def test_a_pasted_block_is_run_in_order() -> None:
    assert await transcript(BLOCK) == (
        "NodeList\r\n#> INVALID\r\n#> Help\r\n#> INVALID\r\n#> INVALID\r\n#> TaskOutput\r\n#> Bye!\r\n"
    )


async def test_bytes_one_by_one_are_the_same_commands() -> None:
    assert await transcript(*(bytes([byte]) for byte in BLOCK)) == await transcript(BLOCK)


@given(st.lists(st.integers(0, len(BLOCK)), max_size=8).map(sorted))
@settings(max_examples=25, deadline=None)
def test_where_packets_are_cut_changes_no_transcript(cuts: list[int]) -> None:
    packets = [BLOCK[start:end] for start, end in zip([0, *cuts], [*cuts, len(BLOCK)], strict=True)]

    async def both() -> tuple[str, str]:
        return await transcript(*packets), await transcript(BLOCK)

    cut, whole = asyncio.run(both())
    assert cut == whole


@pytest.mark.parametrize("end", ["\r\n", ""])
async def test_a_client_that_has_said_all_gets_every_reply(end: str) -> None:
    gate = asyncio.Event()

    async def wait(command: Command) -> Reply:
        await gate.wait()
        return await label(command)

    async with session(wait) as client:
        client.send(f"NODE LIST\nHELP{end}")
        client.writer.write_eof()
        gate.set()
        assert await client.rest() == "NodeList\r\n#> Help\r\n#> "


async def test_the_last_reply_is_whole_for_a_client_that_has_said_all_and_reads_late() -> None:
    """As many replies as the system takes while nobody reads, so that a part of the last one is still with us."""
    calls = 0

    async def large(_: Command) -> Reply:
        nonlocal calls
        calls += 1
        return Lines(("x" * 2**15,))

    async def settled() -> int:
        seen, turns = calls, 0
        while turns < 200:
            await asyncio.sleep(0)
            seen, turns = (seen, turns + 1) if calls == seen else (calls, 0)
        return seen

    async with face_of(large) as port:
        async with deaf_of(port) as deaf:
            deaf.send(b"HELP\n" * 1000)
            fit = await settled() - 1
        calls = 0
        async with deaf_of(port) as deaf:
            deaf.send(b"HELP\n" * fit)
            deaf.shutdown(socket.SHUT_WR)
            await settled()
            async with asyncio.timeout(PATIENCE):
                said = await all_of(deaf)
    assert len(said.partition(b"#> ")[2]) == fit * (2**15 + len("\r\n#> "))


@asynccontextmanager
async def deaf_of(port: int) -> AsyncIterator[socket.socket]:
    """A client that reads nothing by itself."""
    with socket.socket() as deaf:
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", port))
        yield deaf


async def all_of(deaf: socket.socket) -> bytes:
    said = bytearray()
    while packet := await asyncio.get_running_loop().sock_recv(deaf, 2**20):
        said += packet
    return bytes(said)


async def test_a_line_beyond_the_limit_closes_after_those_before_it() -> None:
    async with session(limits=replace(AT_ONCE, line=10)) as client:
        client.send("HELP\n" + "x" * 11)
        assert await client.rest() == "OK\r\n#> A line may have 10 bytes\r\n"


async def test_an_endless_line_before_login_closes_without_a_byte() -> None:
    async with session(password=PASSWORD, limits=replace(AT_ONCE, line=10)) as client:
        client.send("x" * 11)
        assert await client.rest() == ""


async def test_replies_that_are_no_text_do_not_end_the_session() -> None:
    async def surrogate(_: Command) -> Reply:
        return Document("\ud800")

    async with session(surrogate) as client:
        assert await client.ask("HELP") == '"?"\r\n'


# -- staying up -------------------------------------------------------------------------------------------------------


async def test_a_command_that_crashes_fails_and_the_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(command: Command) -> Reply:
        if isinstance(command, Help):
            return HELP
        raise ZeroDivisionError

    async with session(crash) as client:
        assert await client.ask("NODE ADD h 80 s3cret") == "FAIL\r\n"
        assert (await client.ask("HELP")).startswith("NODE ADD ")
    assert "NodeAdd failed" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_slow_command_delays_no_other_session() -> None:
    started = asyncio.Event()

    async def stuck(command: Command) -> Reply:
        if isinstance(command, NodeList):
            started.set()
            await asyncio.Event().wait()
        return Ok()

    async with face_of(stuck) as port, client_of(port) as slow, client_of(port) as quick:
        slow.send("NODE LIST\r\n")
        await started.wait()
        await quick.until("#> ")
        assert await quick.ask("HELP") == "OK\r\n"


async def test_one_session_too_many_is_turned_away_until_one_ends() -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(face_of(limits=replace(AT_ONCE, sessions=2)))
        clients = [await stack.enter_async_context(client_of(port)) for _ in range(2)]
        for client in clients:
            await client.until("#> ")
        async with client_of(port) as third:
            assert await third.rest() == "Too many sessions are open, try again later\r\n"
        clients[0].send("QUIT\n")
        assert await clients[0].rest() == "Bye!\r\n"
        clients[0].writer.close()
        async with asyncio.timeout(PATIENCE):
            while not await greeted(port):
                pass


async def greeted(port: int) -> bool:
    async with client_of(port) as client:
        client.send("QUIT\n")
        return "Welcome" in await client.rest()


@pytest.mark.parametrize(
    ("password", "limits"),
    [(OPEN, replace(AT_ONCE, idle=0.02)), (PASSWORD, replace(AT_ONCE, login=0.02))],
)
async def test_a_silent_client_is_closed(password: Token, limits: SessionLimits) -> None:
    async with session(password=password, limits=limits) as client:
        assert await client.rest() == ""


async def test_the_time_to_log_in_does_not_bind_operators() -> None:
    async with session(limits=replace(AT_ONCE, login=0.0)) as client:
        assert await client.ask("HELP") == "OK\r\n"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_that_vanishes_takes_nobody_along(
    new_loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """With either loop: they differ in what happens when one writes to who is gone."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(vanish())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def vanish() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def large(_: Command) -> Reply:
        entered.set()
        await release.wait()
        return Lines(("x" * 1_000_000,))

    async with face_of(large) as port:
        async with client_of(port) as client:
            await client.until("#> ")
            client.send("HELP\nHELP\n")
            await entered.wait()
            reset = struct.pack("ii", 1, 0)
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        async with client_of(port) as other:
            await other.until("#> ")
            release.set()
            assert len(await other.ask("HELP")) > 1_000_000


async def test_leaving_closes_every_session_even_those_that_are_busy_or_do_not_listen() -> None:
    started = asyncio.Event()

    async def stuck(command: Command) -> Reply:
        started.set()
        if isinstance(command, Help):
            await asyncio.Event().wait()
        return Lines(("x" * 10_000_000,))

    async with AsyncExitStack() as clients:
        async with face_of(stuck) as port:
            busy, deaf, idle = [await clients.enter_async_context(client_of(port)) for _ in range(3)]
            busy.send("HELP\r\n")
            deaf.send("NODE LIST\r\n")
            await idle.until("#> ")
            await started.wait()
        assert await idle.rest() == ""
        assert "#> " in await busy.rest()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_failure_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with face_of():
            raise ZeroDivisionError


# -- every verb, from socket to store and back: C94-C98 ---------------------------------------------------------------


class Nodes:
    """Nodes that are always up, and the one task they have."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def views(self) -> tuple[NodeView, ...]:
        info = NodeInfo(version="2.2.4", engine="odm", task_queue_count=0, max_parallel_tasks=1)
        nodes = await self._store.nodes.all()
        return tuple(NodeView(node=node, info=info, health=Health.UP, refreshed=1.5) for node in nodes)

    async def sync(self) -> None: ...

    async def refresh(self, node: NodeId | None = None) -> bool:
        return node is None

    def picked(self, node: NodeId) -> None: ...

    async def task_json(self, node: Node, task: TaskId) -> Json:
        return {"uuid": task, "options": []}

    async def task_output(self, node: Node, task: TaskId, line: int) -> Json:
        lines: list[Json] = ["one", "two"]
        return lines[line:]

    async def cancel(self, task: Task) -> Json:
        return {"success": True}

    async def remove(self, task: Task) -> Json:
        return {"success": await self._store.tasks.remove(task.id)}


LINE: Final = "1) 127.0.0.1:3001 [online] [0/1] <engine: odm ?> <API: 2.2.4>"
ROUTE: Final = """{
  "node": {
    "hostname": "127.0.0.1",
    "port": 3001,
    "token": "***",
    "locked": false
  },
  "accessed": 2000
}"""

TRANSCRIPT: Final = [
    ("NODE LIST", ""),
    ("NODE ADD 127.0.0.1 3001 tok", "OK"),
    ("NODE ADD 127.0.0.1 03001", "FAIL"),
    ("node add 127.0.0.1 0", "FAIL"),
    ("NODE LIST", f"{LINE}\n"),
    ("NODE LOCK 1x", "OK"),
    ("NODE LIST", f"{LINE} [L]\n"),
    ("NODE BEST 10", "No best node available"),
    ("NODE LOCK 99", "FAIL"),
    ("NODE UNLOCK 1", "OK"),
    ("!!", "OK"),
    ("NODE BEST 10", LINE),
    ("NODE UPDATE", "OK"),
    ("NODE FOO", "INVALID"),
    ("NODE", "INVALID"),
    ("", "INVALID"),
    ("NODE INFO 2", "INVALID"),
    (
        "NODE INFO 1",
        """{
  "hostname": "127.0.0.1",
  "port": 3001,
  "token": "***",
  "locked": false,
  "info": {
    "version": "2.2.4",
    "taskQueueCount": 0,
    "totalMemory": null,
    "availableMemory": null,
    "cpuCores": null,
    "maxImages": null,
    "maxParallelTasks": 1,
    "engineVersion": null,
    "engine": "odm"
  },
  "lastRefreshed": 1500,
  "health": "up",
  "error": null,
  "inFlight": 0
}""",
    ),
    (f"ROUTE INFO {UUID}", ROUTE),
    ("ROUTE LIST", f'{{\n  "{UUID}": ' + ROUTE.replace("\n", "\n  ") + "\n}"),
    ("ROUTE LIST 2", "INVALID"),
    ("ROUTE FOO", "INVALID"),
    ("ROUTE INFO", "INVALID"),
    ("ROUTE INFO nobody", "INVALID"),
    ("TASK LIST", f'[\n  {{\n    "uuid": "{UUID}",\n    "options": []\n  }}\n]'),
    ("TASK LIST 0", "INVALID"),
    (f"TASK INFO {UUID}", f'{{\n  "uuid": "{UUID}",\n  "options": []\n}}'),
    (f"TASK OUTPUT {UUID}", "one\ntwo"),
    ("!!", "one\ntwo"),
    (f"TASK OUTPUT {UUID} 1", "two"),
    (f"TASK OUTPUT {UUID} 9", ""),
    ("TASK OUTPUT nobody", "INVALID"),
    (f"TASK CANCEL {UUID}", '{\n  "success": true\n}'),
    ("TASK CANCEL nobody", "INVALID"),
    (f"TASK REMOVE {UUID}", '{\n  "success": true\n}'),
    (f"TASK REMOVE {UUID}", "INVALID"),
    ("TASK LIST", "[]"),
    ("ROUTE LIST", "{}"),
    ("ASR VIEWCMD 10", "INVALID"),
    ("NODE DEL 1", "OK"),
    ("NODE DEL 1", "FAIL"),
    ("NODE LIST", ""),
    ("HELP", "\n".join(HELP.lines)),
]


async def test_every_verb_answers_to_the_byte_and_prompts() -> None:
    store = MemoryStore()
    nodes = Nodes(store)
    admin = Admin(store=store, watch=nodes, calls=nodes, tasks=nodes, front=own_lines, clock=lambda: 0.0)
    await store.tasks.create(
        Task(
            id=UUID,
            owner=NOBODY,
            state=TaskState.ON_NODE,
            request=TaskRequest(),
            created=1.0,
            accessed=2.0,
            node=NodeId("127.0.0.1:3001"),
        )
    )
    async with session(admin.execute) as client:
        for line, reply in TRANSCRIPT:
            assert await client.ask(line) == f"{reply}\n".replace("\n", "\r\n"), line
        client.send("QUIT\r\n")
        assert await client.rest() == "Bye!\r\n"
