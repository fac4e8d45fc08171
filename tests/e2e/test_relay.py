"""What is passed on between client and node: every byte of it, no header of one hop, and no node's fault as ours."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yarl

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess
from harness.raw_node import TASK, TASK_INFO, Asked, RawNode, Script, ok
from harness.standing import memory
from harness.tasks import ended, submit
from harness.wire import ask, request

ASSET = "download/all.zip"
URL = f"/task/{TASK}/{ASSET}"
BIG = os.urandom(1 << 20) * 20
BREAKS = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)


@pytest.fixture
async def raw() -> AsyncIterator[RawNode]:
    async with RawNode() as node:
        yield node


@pytest.fixture
async def relay(tmp_path: Path, raw: RawNode) -> AsyncIterator[ProxyProcess]:
    """A proxy in front of the raw node, which has the one task."""
    async with ProxyProcess(raw.data_folder(tmp_path / "raw")) as proxy:
        yield proxy


def says(answer: bytes, *, close: bool = False) -> Script:
    """A script that says these bytes, and perhaps closes."""

    async def script(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    return script


def descriptors(proxy: ProxyProcess) -> int:
    assert proxy.process is not None
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


@pytest.mark.parametrize("size", [0, 5_000_000], ids=["small", "kernel"])
async def test_a_download_is_the_nodes_byte_for_byte(tmp_path: Path, size: int) -> None:
    behaviour = Behaviour(seconds=0.1, result_size=size, work_dir=tmp_path / "n")
    async with (
        SimulatedNode(behaviour, port=0) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        task = await submit(proxy)
        assert await ended(proxy, task) == 40
        path = f"/task/{task}/{ASSET}"
        async with proxy.session.get(f"{node.url}{path}") as response:
            truth = await response.read()
        for _ in range(3):  # also what comes after one on the same connection
            async with proxy.session.get(path) as response:
                assert await response.read() == truth
                assert response.headers["Content-Length"] == str(len(truth))
        assert len(truth) >= size
        async with proxy.session.head(path) as response:
            assert response.headers["Content-Length"] == str(len(truth))
        async with proxy.session.get(path, headers={"Range": "bytes=0-99"}) as response:
            assert (response.status, len(await response.read())) == (200, len(truth))
            assert "Accept-Ranges" not in response.headers


async def test_a_nodes_partial_answer_is_passed_on(relay: ProxyProcess, raw: RawNode) -> None:
    partial = ok(
        b"0123456789", "application/zip", "Content-Range: bytes 0-9/99", status="206 Partial Content"
    )
    raw.answers(ASSET, says(partial))
    async with relay.session.get(URL, headers={"Range": "bytes=0-9"}) as response:
        assert (response.status, await response.read()) == (206, b"0123456789")
        assert response.headers["Content-Range"] == "bytes 0-9/99"
    assert raw.last(ASSET).headers["range"] == "bytes=0-9"


async def test_headers_of_one_hop_and_secrets_do_not_cross(relay: ProxyProcess, raw: RawNode) -> None:
    theirs = (
        "Connection: keep-alive, X-Hop",
        "Keep-Alive: timeout=5",
        "X-Hop: 1",
        "Set-Cookie: a=b",
        "X-Theirs: 2",
    )
    raw.answers(ASSET, says(ok(b"x", "text/plain", *theirs, "Access-Control-Allow-Origin: *")))
    mine = {
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "1",
        "TE": "trailers",
        "Proxy-Authorization": "secret",
        "Cookie": "session=secret",
        "Authorization": "secret",
        "X-Forwarded-For": "10.0.0.9",
        "X-Kept": "yes",
        "Origin": "https://page.example",
    }
    url = yarl.URL(f"{URL}?token=user&a=%2F", encoded=True)
    async with relay.session.get(url, headers=mine) as response:
        assert await response.read() == b"x"
        assert response.headers["X-Theirs"] == "2"
        assert not {"X-Hop", "Keep-Alive", "Set-Cookie"} & response.headers.keys()
        assert response.headers.getall("Access-Control-Allow-Origin") == ["https://page.example"]
    asked = raw.last(ASSET)
    assert not {"x-mine", "te", "proxy-authorization", "cookie", "authorization"} & asked.headers.keys()
    assert (asked.headers["x-kept"], asked.headers["x-forwarded-for"]) == ("yes", "10.0.0.9, 127.0.0.1")
    assert asked.headers["x-forwarded-host"] == f"127.0.0.1:{relay.port}"
    assert asked.headers["x-forwarded-proto"] == "http"
    assert asked.headers["host"] == f"127.0.0.1:{raw.port}"
    assert "token=nodetok" in asked.target
    assert "a=%2F" in asked.target
    assert "user" not in asked.target


async def test_a_body_is_passed_on_as_it_came(relay: ProxyProcess, raw: RawNode) -> None:
    raw.answers("future", says(ok(b"{}")))
    async with relay.session.post(
        f"/task/{TASK}/future", data=b"zipped", headers={"Content-Encoding": "gzip"}
    ) as response:
        assert await response.json() == {}
    asked = raw.last("future")
    assert (asked.method, asked.body, asked.headers["content-encoding"]) == ("POST", b"zipped", "gzip")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ok(b"x" * 1000)[:-500], id="short"),
        pytest.param(ok(BIG)[:-500], id="short in the kernel"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="chunks without end"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", id="half a head"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00junk" * 100, id="junk"),
    ],
)
async def test_a_node_that_breaks_off_breaks_off_the_client(
    relay: ProxyProcess, raw: RawNode, answer: bytes
) -> None:
    raw.answers(ASSET, says(answer, close=True))
    async with asyncio.timeout(5):
        with pytest.raises(BREAKS):
            async with relay.session.get(URL) as response:
                await response.read()
    raw.answers(ASSET, says(ok(b"whole")))
    async with relay.session.get(URL) as response:
        assert await response.read() == b"whole"


async def test_clients_that_leave_take_everything_with_them(relay: ProxyProcess, raw: RawNode) -> None:
    raw.answers(ASSET, says(ok(BIG * 3)))
    await relay.get("/info")
    before = descriptors(relay)
    for _ in range(10):
        async with aiohttp.ClientSession(relay.url) as session, session.get(URL) as response:
            await response.content.readexactly(100_000)
            response.close()
    async with asyncio.timeout(10):
        while descriptors(relay) > before or raw.open > 2:
            await asyncio.sleep(0.05)


async def test_a_client_that_leaves_before_an_answer_is_noticed(relay: ProxyProcess, raw: RawNode) -> None:
    left = asyncio.Event()

    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asked.connection.read()
        left.set()
        writer.close()

    raw.answers(ASSET, silent)
    with pytest.raises(TimeoutError):
        async with aiohttp.ClientSession(relay.url, timeout=aiohttp.ClientTimeout(total=0.3)) as session:
            await session.get(URL)
    async with asyncio.timeout(5):
        await left.wait()


async def test_head_is_answered_without_a_body(relay: ProxyProcess) -> None:
    for path in ("/info", "/nothing", f"/task/{TASK}/info", f"/task/{TASK}/output"):
        async with relay.session.get(path) as response:
            whole = await response.read()
        async with relay.session.head(path) as response:
            assert (response.status, await response.read()) == (200, b"")
            assert response.headers["Content-Length"] == str(len(whole))


async def test_a_slow_reader_gets_everything_and_costs_no_memory(relay: ProxyProcess, raw: RawNode) -> None:
    raw.answers(ASSET, says(ok(BIG * 5)))
    before = memory(relay)
    async with relay.session.get(URL) as response:
        await response.content.readexactly(1000)
        await asyncio.sleep(1)  # PyODM keeps its first stream open, unread, while it tries parallel ones
        assert (await relay.get("/info"))["version"]
        assert memory(relay) < before + 20 * 1024
        rest = await response.read()
        assert len(rest) == len(BIG) * 5 - 1000
        assert rest[-100:] == BIG[-100:]


async def test_the_same_question_asked_by_many_is_asked_once(relay: ProxyProcess, raw: RawNode) -> None:
    gate = asyncio.Event()

    async def script(_: Asked, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(ok(json.dumps(TASK_INFO).encode()))

    raw.answers("info", script)
    query = f"/task/{TASK}/info?with_output=1"  # the proxy asks for itself from 0
    clients = [asyncio.create_task(relay.get(query)) for _ in range(30)]
    async with asyncio.timeout(5):
        while not any("with_output=1" in asked.target for asked in raw.asked):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # for the other clients to have asked, too
        gate.set()
        answers = await asyncio.gather(*clients)
    assert all(answer == TASK_INFO for answer in answers)
    assert sum("with_output=1" in asked.target for asked in raw.asked) == 1


async def test_connections_to_nodes_are_kept(relay: ProxyProcess, raw: RawNode) -> None:
    raw.answers(ASSET, says(ok(b"zip")))
    for _ in range(50):
        assert (await relay.get(f"/task/{TASK}/info"))["name"] == "raw"
        async with relay.session.get(URL) as response:
            await response.read()
    assert raw.times("info") >= 50
    assert raw.connections <= 6


@pytest.mark.parametrize("politely", [True, False])
async def test_a_kept_connection_that_went_stale_is_no_error(
    relay: ProxyProcess, raw: RawNode, politely: bool
) -> None:
    cut: set[str] = set()

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.number and not politely and asked.path not in cut:
            cut.add(asked.path)
            writer.transport.abort()  # closed while the question was on its way
        else:
            writer.write(ok(json.dumps(TASK_INFO).encode()))

    for path in ("info", "output", ASSET):
        raw.answers(path, once)
    for _ in range(5):
        for path in ("info", "output", ASSET):
            reply = await ask(relay.port, request("GET", f"/task/{TASK}/{path}"))  # aiohttp would ask twice
            assert reply.json["name"] == "raw"
        cut.clear()
        if politely:
            raw.hang_up()
