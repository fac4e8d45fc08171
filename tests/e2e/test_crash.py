"""The proxy killed at every step of a dispatch: each committed task goes on by itself, once, with exactly its files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.gate import Gate
from harness.proxy import ProxyProcess
from harness.standing import spooled
from harness.tasks import IMAGES, commit, ended, init, status, submit, upload

STEPS = [
    ("/task/new/init", False),
    ("/task/new/init", True),
    ("/task/new/upload", False),
    ("/task/new/upload", True),
    ("/task/new/commit", False),
    ("/task/new/commit", True),
]


@pytest.mark.parametrize(("step", "after"), STEPS)
async def test_a_task_survives_a_kill_at_any_step_and_runs_once(
    tmp_path: Path, node: SimulatedNode, step: str, after: bool
) -> None:
    async with (
        Gate(node.port) as gate,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{gate.port}",)) as proxy,
    ):
        gate.hold(step, after=after)
        task = await submit(proxy)
        async with asyncio.timeout(10):
            await gate.held.wait()
        await proxy.kill()
        gate.open()
        await proxy.start()
        assert await ended(proxy, task) == 40
        received = node.tasks[task]
        assert received.starts == 1
        assert dict(received.files) == {name: len(content) for name, content in IMAGES.items()}


async def test_a_task_killed_right_after_its_commit_was_answered_goes_on(
    tmp_path: Path, proxy: ProxyProcess, node: SimulatedNode
) -> None:
    task = await submit(proxy)
    await proxy.restart()
    assert await ended(proxy, task) == 40
    assert node.tasks[task].starts == 1


async def test_a_commit_whose_answer_was_lost_is_not_repeated(tmp_path: Path) -> None:
    async with (
        SimulatedNode(Behaviour(seconds=0.3, lose_commit_replies=1, work_dir=tmp_path / "n"), port=0) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        task = await submit(proxy)
        assert await ended(proxy, task) == 40
        assert node.tasks[task].starts == 1


async def test_a_running_task_is_followed_again_after_a_kill(tmp_path: Path) -> None:
    async with (
        SimulatedNode(Behaviour(seconds=3, work_dir=tmp_path / "n"), port=0) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        task = await submit(proxy)
        async with asyncio.timeout(10):
            while task not in node.tasks:
                await asyncio.sleep(0.05)
        await proxy.restart()
        assert await status(proxy, task) == 20
        assert await ended(proxy, task) == 40


async def test_an_upload_interrupted_by_a_kill_can_be_finished(
    proxy: ProxyProcess, node: SimulatedNode
) -> None:
    begun = await init(proxy)
    task = begun["uuid"]
    first = dict(list(IMAGES.items())[:1])
    await upload(proxy, task, first)
    await proxy.restart()
    rest = dict(list(IMAGES.items())[1:])
    assert await upload(proxy, task, rest) == {"success": True}
    assert await commit(proxy, task) == {"uuid": task}
    assert await ended(proxy, task) == 40
    assert len(node.tasks[task].files) == len(IMAGES)


async def test_an_upload_killed_in_the_middle_of_a_file_leaves_no_part_of_it(proxy: ProxyProcess) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(
        b"POST /task/new HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 9000000\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n' + b"x" * 1_000_000
    )
    await writer.drain()
    async with asyncio.timeout(10):
        while not spooled(proxy):
            await asyncio.sleep(0.05)
    await proxy.restart()
    writer.close()
    assert await proxy.get("/task/list") == []
    assert not spooled(proxy)
