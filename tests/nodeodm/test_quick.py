"""Polled answers over connections of our own: whole or not at all, and never somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from clusterodm_py.core.errors import Unreachable
from clusterodm_py.core.types import Address, Node, Token
from clusterodm_py.nodeodm.quick import QuickGets
from harness.engine import closed_port_node

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[Node]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Node(address=Address("127.0.0.1", port), token=Token("nodetok"))


@pytest.fixture
async def quick() -> AsyncIterator[QuickGets]:
    async with QuickGets() as quick:
        yield quick


def once(answer: bytes) -> Talk:
    """Answers every connection's first question so, and closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return talk


async def test_questions_share_a_connection_and_carry_the_nodes_token(quick: QuickGets) -> None:
    heads: list[bytes] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % len(heads))

    async with talking(talk) as node:
        answers = [await quick.get(node, "/info", "token=usertok&a=1", 5.0) for _ in range(3)]
    assert [answer.body for answer in answers] == [b"01", b"02", b"03"]
    assert connections == 1
    assert all(b"token=nodetok" in head and b"usertok" not in head for head in heads)


async def test_a_kept_connection_that_was_closed_meanwhile_is_dialled_anew(quick: QuickGets) -> None:
    rounds = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal rounds
        rounds += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await reader.readuntil(
            b"\r\n\r\n"
        )  # the next question is read, and the connection closed without a word

    async with talking(talk) as node:
        for _ in range(3):
            assert (await quick.get(node, "/info", "", 5.0)).body == b"x"
    assert rounds == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"garbage\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(quick: QuickGets, answer: bytes) -> None:
    async with talking(once(answer)) as node:
        with pytest.raises(Unreachable):
            await quick.get(node, "/info", "", 5.0)


async def test_an_answer_without_a_length_ends_with_its_connection(quick: QuickGets) -> None:
    async with talking(once(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n[1,2]")) as node:
        assert (await quick.get(node, "/info", "", 5.0)).body == b"[1,2]"


async def test_an_interim_answer_is_not_the_answer(quick: QuickGets) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    async with talking(once(answer)) as node:
        found = await quick.get(node, "/info", "", 5.0)
    assert (found.status, found.headers, found.body) == (200, (("content-length", "1"),), b"x")


async def test_what_nobody_asked_for_never_answers_the_next_question(quick: QuickGets) -> None:
    said = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n9"]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said.pop() if said else b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")

    async with talking(talk) as node:
        answers = [(await quick.get(node, "/info", "", 5.0)).body for _ in range(2)]
    assert answers == [b"1", b"2"]


async def test_a_silent_node_is_given_up_and_its_late_answer_thrown_away(quick: QuickGets) -> None:
    first = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not first.is_set():
            first.set()
            await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async with talking(talk) as node:
        with pytest.raises(Unreachable, match="no answer within"):
            await quick.get(node, "/info", "", 0.05)
        assert (await quick.get(node, "/info", "", 5.0)).body == b"x"


@pytest.mark.parametrize("address", [closed_port_node().address, Address("a..b", 3000)])
async def test_a_node_that_cannot_be_dialled_is_unreachable(quick: QuickGets, address: Address) -> None:
    with pytest.raises(Unreachable) as raised:
        await quick.get(Node(address=address, token=Token("s3cret")), "/info", "", 5.0)
    assert "s3cret" not in str(raised.value)


async def test_an_ipv6_host_is_named_as_http_wants_it(quick: QuickGets) -> None:
    heads: list[bytes] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    try:
        server = await asyncio.start_server(served, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    async with server:
        port = server.sockets[0].getsockname()[1]
        await quick.get(Node(address=Address("::1", port)), "/info", "", 5.0)
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0]
