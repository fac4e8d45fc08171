"""The operators' console of the running program (contract §7, C94-C98)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clusterodm_py import __version__
from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.console import say
from harness.gate import Gate
from harness.proxy import ProxyProcess, free_port
from harness.tasks import IMAGES, ended, info, submit

NODE = re.compile(
    r"^\d+\) \S+:\d+ \[(online|offline)\] \[(\d+|\?)/(\d+|\?)\] <engine: .+> <API: .+>( \[[LA](,[LA])*\])?$"
)
"""R of contract §13."""

PASSWORD = "correct horse"


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    """A proxy whose console asks for a password."""
    flags = ("--admin-pass", PASSWORD, "--admin-host", "127.0.0.2")
    async with ProxyProcess(tmp_path / "data", flags=flags) as proxy:
        yield proxy


async def answer(proxy: ProxyProcess, command: str) -> str:
    """What the console says to one command, without banner and prompts."""
    said = await say(proxy, command)
    _, answered, _ = said.split("#> ", 2)
    return answered


async def document(proxy: ProxyProcess, command: str) -> Any:
    return json.loads(await answer(proxy, command))


async def talk(host: str, port: int, *lines: str) -> str:
    """Everything that is said until the console closes."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write("".join(f"{line}\r\n" for line in lines).encode())
        said = await reader.read()
        writer.close()
    return said.decode()


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens at `port`, as the kernel writes them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, _, number = address.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(host)
    return found


async def test_the_banner_is_exactly_clusterodms(proxy: ProxyProcess) -> None:
    said = await say(proxy)
    expected = (
        rf"Welcome ::ffff:127\.0\.0\.1:\d+ ClusterODM:{re.escape(__version__)}\r\n"
        r"HELP for help\r\nQUIT to quit\r\n#> Bye!\r\n"
    )
    assert re.fullmatch(expected, said)


async def test_without_a_password_only_this_machine_gets_in(proxy: ProxyProcess) -> None:
    assert listening(proxy.cli_port) == {"0100007F"}


async def test_a_password_opens_the_console_where_it_was_put(locked: ProxyProcess) -> None:
    assert listening(locked.cli_port) == {"0200007F"}
    said = await talk("127.0.0.2", locked.cli_port, f"LOGIN {PASSWORD}", "LOGIN again", "QUIT")
    greeting, dialogue = said.split("$> ")
    assert "LOGIN <LOGIN> to log-in\r\nQUIT to quit\r\n" in greeting
    assert dialogue == "OK\r\nHELP for help\r\n#> INVALID\r\n#> Bye!\r\n"


@pytest.mark.parametrize("first", ["NODE LIST", "HELP", "!!", "LOGIN wrong", "LOGIN", ""])
async def test_anything_but_the_password_closes_without_a_word(locked: ProxyProcess, first: str) -> None:
    said = await talk("127.0.0.2", locked.cli_port, first, f"LOGIN {PASSWORD}")
    assert said.endswith("QUIT to quit\r\n$> ")


async def test_help_lists_every_command_in_order(proxy: ProxyProcess) -> None:
    lines = (await answer(proxy, "help")).split("\r\n")[:-1]
    names = [" ".join(word for word in line.split(" - ")[0].split() if word.isupper()) for line in lines]
    assert names[:8] == [
        f"NODE {verb}" for verb in ("ADD", "DEL", "INFO", "LIST", "LOCK", "UNLOCK", "UPDATE", "BEST")
    ]
    assert names[8:15] == [
        *("ROUTE INFO", "ROUTE LIST", "TASK LIST", "TASK INFO", "TASK OUTPUT", "TASK CANCEL", "TASK REMOVE")
    ]
    assert names[15] == "ASR VIEWCMD"
    assert lines[16].startswith("!! - ")
    assert lines[17].startswith("NODE WHY <number of images> - ")


async def test_what_is_no_command_is_invalid_and_the_prompt_comes_back(proxy: ProxyProcess) -> None:
    said = await say(
        proxy, "!!", "", "NODE", "NODE FOO", "ROUTE", "TASK INFO", "NODE  LIST", "FOO", "NODE INFO 99"
    )
    assert said.count("INVALID\r\n#> ") == 9
    failed = await say(
        proxy, "NODE LOCK 99", "NODE DEL 0", "NODE ADD x 99999", "NODE ADD a/b 80", "NODE UNLOCK -1"
    )
    assert failed.count("FAIL\r\n#> ") == 5


async def test_a_line_may_come_in_pieces_and_many_at_once(proxy: ProxyProcess) -> None:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.cli_port)
        await reader.readuntil(b"#> ")
        for piece in (b"NO", b"DE LO", b"CK 1\r", b"\nnode unlock 1\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        assert await reader.readuntil(b"#> ") + await reader.readuntil(b"#> ") == b"OK\r\n#> OK\r\n#> "
        writer.close()


async def test_nodes_are_listed_shown_and_repeated(proxy: ProxyProcess, node: SimulatedNode) -> None:
    listed = await answer(proxy, "NODE LIST")
    line, empty, end = listed.split("\r\n")
    assert NODE.match(line)
    assert (empty, end) == ("", "")
    assert line == f"1) 127.0.0.1:{node.port} [online] [0/2] <engine: odm 3.5.6> <API: 2.2.4>"
    shown = await document(proxy, "NODE INFO 1x")
    assert (shown["hostname"], shown["port"], shown["info"]["maxParallelTasks"]) == (
        "127.0.0.1",
        node.port,
        2,
    )
    assert await answer(proxy, "NODE BEST 5") == f"{line}\r\n"
    twice = await say(proxy, "NODE LIST", "!!")
    assert twice.count(listed) == 2
    assert "OK" in await answer(proxy, "NODE LOCK 1")
    assert (await answer(proxy, "NODE LIST")).split("\r\n")[0] == f"{line} [L]"
    assert await answer(proxy, "NODE BEST 5") == "No best node available\r\n"


async def test_a_node_added_there_is_used_and_survives_a_restart(tmp_path: Path) -> None:
    async with (
        SimulatedNode(Behaviour(token="nodetok", seconds=0.1, work_dir=tmp_path / "n"), port=0) as node,
        ProxyProcess(tmp_path / "data") as proxy,
    ):
        assert await answer(proxy, f"NODE ADD 127.0.0.1 {node.port} nodetok") == "OK\r\n"
        assert await answer(proxy, f"NODE ADD 127.0.0.1 {node.port}") == "FAIL\r\n"
        assert await answer(proxy, f"NODE ADD nohost.invalid {free_port()}") == "OK\r\n"
        assert await answer(proxy, "NODE UPDATE") == "OK\r\n"
        assert await answer(proxy, "NODE LOCK 2") == "OK\r\n"
        assert await ended(proxy, await submit(proxy)) == 40
        assert "nodetok" not in await answer(proxy, "NODE INFO 1")
        assert await proxy.stop() == 0
        await proxy.start()
        assert await answer(proxy, "NODE UPDATE") == "OK\r\n"
        first, second, *_ = (await answer(proxy, "NODE LIST")).split("\r\n")
        assert "[online]" in first
        assert second.startswith("2) nohost.invalid:")
        assert second.endswith("<engine: ?> <API: ?> [L]")
        assert await ended(proxy, await submit(proxy)) == 40
        assert await answer(proxy, "NODE DEL 1") == "OK\r\n"
        assert "1) nohost.invalid" in await answer(proxy, "NODE LIST")


async def test_a_task_on_its_node_is_shown_and_ended(proxy: ProxyProcess, node: SimulatedNode) -> None:
    node.change(seconds=60)
    task = await submit(proxy, token="user-secret", name="mine")
    async with asyncio.timeout(10):
        while await answer(proxy, f"ROUTE INFO {task}") == "INVALID\r\n":
            await asyncio.sleep(0.05)
    route = await document(proxy, f"ROUTE INFO {task}")
    assert (route["node"]["hostname"], route["node"]["port"]) == ("127.0.0.1", node.port)
    assert route["accessed"] > 1_600_000_000_000
    assert "user-secret" not in await answer(proxy, "ROUTE LIST")
    assert set(await document(proxy, "ROUTE LIST")) == set(await document(proxy, "ROUTE LIST 1")) == {task}
    assert [told["uuid"] for told in await document(proxy, "TASK LIST")] == [task]
    assert await answer(proxy, "TASK LIST 7") == "INVALID\r\n"
    assert (await document(proxy, f"TASK INFO {task}"))["name"] == "mine"
    lines = (await answer(proxy, f"TASK OUTPUT {task}")).split("\r\n")
    assert len(lines) > 1
    assert await document(proxy, f"TASK CANCEL {task}") == {"success": True}
    assert (await info(proxy, task))["status"]["code"] == 50
    assert await document(proxy, f"TASK REMOVE {task}") == {"success": True}
    assert await answer(proxy, f"TASK REMOVE {task}") == "INVALID\r\n"
    assert await document(proxy, "ROUTE LIST") == {}
    assert task not in node.tasks


@pytest.mark.parametrize("verb", ["CANCEL", "REMOVE"])
async def test_a_task_that_no_node_has_yet_can_be_ended_too(
    tmp_path: Path, node: SimulatedNode, verb: str
) -> None:
    async with (
        Gate(node.port) as gate,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{gate.port}",)) as proxy,
    ):
        gate.hold("/task/new/upload", after=False)
        task = await submit(proxy)
        await asyncio.wait_for(gate.held.wait(), 10)
        assert (await info(proxy, task))["imagesCount"] == len(IMAGES)
        assert await answer(proxy, f"ROUTE INFO {task}") == "INVALID\r\n"
        assert await document(proxy, f"TASK {verb} {task}") == {"success": True}
        told = await info(proxy, task)
        assert "error" in told if verb == "REMOVE" else told["status"]["code"] == 50
