"""One task handed to one node: every file once, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import NodeRefused, NodeTrouble, UnknownTask, Unreachable
from clusterodm_py.core.types import OptionValue, TaskRequest
from clusterodm_py.nodeodm import push
from clusterodm_py.nodeodm.connection import Connection, Unclear
from clusterodm_py.nodeodm.push import Parcel, Pusher, PushPolicy, each
from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.engine import ID, QUICK_PUSH, a_task, closed_port_node
from harness.scripted_node import Drop, Hold, ScriptedNode, Status


def parcels(folder: Path, count: int, size: int = 100) -> list[Parcel]:
    found = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        path.write_bytes(bytes([number % 256]) * size)
        found.append(Parcel(path.name, path, size))
    return found


@pytest.fixture(params=["sendfile", "without sendfile"], autouse=True)
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some platforms do not have it, and no TLS connection does: whatever is promised holds on both ways."""
    monkeypatch.setattr(push, "POSSIBLE", request.param == "sendfile")


@pytest.fixture
def pusher(connection: Connection) -> Pusher:
    return Pusher(connection, QUICK_PUSH)


async def test_everything_arrives_once_under_its_name(tmp_path: Path, pusher: Pusher) -> None:
    async with SimulatedNode(Behaviour(seconds=60)) as simulated:
        node = closed_port_node()
        node = replace(node, address=replace(node.address, port=simulated.port))
        task = a_task(
            request=TaskRequest(
                name="n", webhook="http://h/", outputs='["a"]', skip_post_processing=True, date_created=7
            ),
            options=(OptionValue("dsm", True),),
        )
        sent = parcels(tmp_path, 20)
        await pusher.init(node, task)
        await pusher.deliver(node, ID, each(sent))
        await pusher.commit(node, ID)
        received = simulated.tasks[ID]
        assert dict(received.files) == {parcel.name: parcel.size for parcel in sent}
        assert (received.fields.name, received.fields.outputs, received.fields.date_created) == (
            "n",
            '["a"]',
            7,
        )


@pytest.mark.parametrize("reply", [Status(500), {"error": "busy"}, {"success": False}, {}])
async def test_a_refused_file_is_offered_again(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher, reply: object
) -> None:
    other.replies["upload"] = [reply, {"success": True}]
    await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1)))
    assert other.count("upload") == 2


async def test_a_node_that_refuses_every_file_is_given_up(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher
) -> None:
    other.replies["upload"] = {"error": "no"}
    with pytest.raises(NodeRefused):
        await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1)))
    assert other.count("upload") == QUICK_PUSH.first_tries


async def test_connections_that_fail_in_different_ways_at_once_are_one_trouble(
    tmp_path: Path, other: ScriptedNode, connection: Connection
) -> None:
    together = asyncio.Barrier(2)

    async def meet() -> None:
        await together.wait()

    other.on["upload"] = meet
    other.replies["upload"] = [Drop(), {"error": "no"}]
    pusher = Pusher(connection, PushPolicy(connections=2, first_tries=1))
    with pytest.raises(NodeTrouble):
        await pusher.deliver(other.node, ID, each(parcels(tmp_path, 2)))


async def test_a_broken_connection_ends_the_upload_since_nobody_knows_what_arrived(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher
) -> None:
    other.replies["upload"] = Drop()
    with pytest.raises(Unreachable):
        await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1)))
    assert other.count("upload") == 1


async def test_a_node_that_takes_nothing_more_is_given_up(
    tmp_path: Path, other: ScriptedNode, connection: Connection
) -> None:
    hold = other.replies["upload"] = Hold({"success": True})
    pusher = Pusher(connection, PushPolicy(stall_seconds=0.1))
    with pytest.raises(Unreachable, match="took no data"):
        await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1)))
    hold.open.set()


async def test_a_slow_upload_is_not_a_stalled_one(
    tmp_path: Path, other: ScriptedNode, connection: Connection
) -> None:
    # 50 bytes take longer than the stall time in one piece, and come in pieces small enough.
    pusher = Pusher(connection, PushPolicy(stall_seconds=1.3, bytes_per_second=30))
    await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1, size=50)))


async def test_an_answer_before_the_body_was_sent_is_a_refusal_or_a_break(
    tmp_path: Path, other: ScriptedNode, connection: Connection
) -> None:
    other.replies["upload"] = Status(413)
    pusher = Pusher(connection, PushPolicy(first_tries=1))
    with pytest.raises(Unreachable):
        await pusher.deliver(other.node, ID, each(parcels(tmp_path, 1, size=5_000_000)))


async def test_a_file_that_vanished_is_a_trouble_and_no_hang(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher
) -> None:
    lost = Parcel("a.jpg", tmp_path / "lost.jpg", 10)
    with pytest.raises(NodeTrouble, match="cannot be read here: No such file"):
        await pusher.deliver(other.node, ID, each([lost]))


@pytest.mark.parametrize("reply", [{}, {"uuid": "another"}, [[]], Status(500)])
async def test_a_commit_that_is_not_confirmed_is_in_doubt(
    other: ScriptedNode, pusher: Pusher, reply: object
) -> None:
    other.replies["commit"] = reply
    with pytest.raises(Unclear):
        await pusher.commit(other.node, ID)


async def test_a_node_that_gives_another_id_has_refused(other: ScriptedNode, pusher: Pusher) -> None:
    other.replies["init"] = {"uuid": "another"}
    with pytest.raises(NodeRefused, match="id"):
        await pusher.init(other.node, a_task())


async def test_a_wipe_makes_a_node_forget_an_upload(tmp_path: Path, connection: Connection) -> None:
    pusher = Pusher(connection, QUICK_PUSH)
    async with SimulatedNode(Behaviour(seconds=60)) as simulated:
        node = closed_port_node()
        node = replace(node, address=replace(node.address, port=simulated.port))
        sent = parcels(tmp_path, 2)
        await pusher.init(node, a_task())
        await pusher.deliver(node, ID, each(sent))
        assert await pusher.wipe(node, ID)
        await pusher.init(node, a_task())
        await pusher.deliver(node, ID, each(sent))
        await pusher.commit(node, ID)
        assert dict(simulated.tasks[ID].files) == {parcel.name: parcel.size for parcel in sent}


async def test_a_name_cannot_break_out_of_its_header(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    await pusher.deliver(other.node, ID, each([Parcel('a"\r\nX: y.jpg', path, 3)]))
    assert b'filename="a%22%0D%0AX: y.jpg"\r\n' in other.bodies[0][1]


async def test_parcels_are_sent_as_they_come_and_until_their_source_ends(
    tmp_path: Path, pusher: Pusher
) -> None:
    sent, more = parcels(tmp_path, 12), asyncio.Event()

    async def source() -> AsyncIterator[Parcel]:
        for parcel in sent[:5]:
            yield parcel
        await more.wait()
        for parcel in sent[5:]:
            yield parcel

    async with SimulatedNode(Behaviour(seconds=60)) as simulated:
        node = closed_port_node()
        node = replace(node, address=replace(node.address, port=simulated.port))
        await pusher.init(node, a_task())
        delivery = asyncio.create_task(pusher.deliver(node, ID, source()))
        async with asyncio.timeout(5):
            while len(simulated._submission.uploads[ID].files) < 5:
                await asyncio.sleep(0.01)
        assert not delivery.done()
        more.set()
        await delivery
        await pusher.commit(node, ID)
        assert dict(simulated.tasks[ID].files) == {parcel.name: parcel.size for parcel in sent}


async def test_what_the_source_raises_goes_on(tmp_path: Path, other: ScriptedNode, pusher: Pusher) -> None:
    async def source() -> AsyncIterator[Parcel]:
        yield parcels(tmp_path, 1)[0]
        raise UnknownTask("gone")

    with pytest.raises(UnknownTask):
        await pusher.deliver(other.node, ID, source())


async def test_a_file_that_became_shorter_is_not_sent_as_a_whole_one(
    tmp_path: Path, other: ScriptedNode, pusher: Pusher
) -> None:
    (short,) = parcels(tmp_path, 1, 300_000)
    short.path.write_bytes(b"x" * 1000)
    with pytest.raises(NodeTrouble):
        await pusher.deliver(other.node, ID, each([short]))


async def test_large_files_arrive_whole_from_a_node_that_reads_slowly(tmp_path: Path, pusher: Pusher) -> None:
    received = bytearray()

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
        while len(received) < length:
            received.extend(await reader.read(200_000))
            await asyncio.sleep(0)
        body = b'{"success":true}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(read_slowly, "127.0.0.1", 0)
    async with server:
        node = closed_port_node()
        node = replace(node, address=replace(node.address, port=server.sockets[0].getsockname()[1]))
        content = os.urandom(20_000_000)
        path = tmp_path / "large.tif"
        path.write_bytes(content)
        await pusher.deliver(node, ID, each([Parcel("large.tif", path, len(content))]))
    assert content in bytes(received)
