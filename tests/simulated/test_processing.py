from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.node_caller import NodeCaller


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    """One slot, and tasks that outlast every test."""
    async with SimulatedNode(Behaviour(seconds=600, slots=1)) as node:
        yield node


async def test_slots_are_filled_in_order_and_freed_by_a_cancel(call: NodeCaller) -> None:
    first = await call.submit()
    await call.until(first, 20)
    second, third = await call.submit(), await call.submit()
    await call.until(second, 10)
    await call.until(third, 10)
    assert (await call.get("/info"))["taskQueueCount"] == 3
    await call.post("/task/cancel", {"uuid": first})
    await call.until(second, 20)
    assert (await call.info(third))["status"]["code"] == 10
    assert (await call.get("/info"))["taskQueueCount"] == 2


async def test_a_committed_task_shows_20_while_it_initialises(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(init_seconds=600)) as node:
        call = NodeCaller(session, node)
        task = await call.submit("a.jpg", "seed.zip")
        info = await call.info(task)
        assert (info["status"]["code"], info["imagesCount"], info["processingTime"]) == (20, 2, -1)
        assert await call.get(f"/task/{task}/output") == []
        await call.post("/task/cancel", {"uuid": task})
        assert (await call.info(task))["status"]["code"] == 50
        await call.post("/task/restart", {"uuid": task})
        assert (await call.info(task))["status"]["code"] == 20


async def test_a_task_restarted_while_it_initialises_is_processed_once(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, init_seconds=0.2)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        for verb in ("cancel", "restart"):
            assert await call.post(f"/task/{verb}", {"uuid": task}) == {"success": True}
        await call.until(task, 40)
        other = await call.submit()
        await call.until(other, 40)
        assert node.tasks[task].starts == 1


async def test_a_running_task_has_at_least_three_lines(call: NodeCaller) -> None:
    task = await call.submit()
    while call.node.tasks[task].started is None:
        await call.info(task)
    assert len(await call.get(f"/task/{task}/output")) >= 3


async def test_progress_and_output_grow_with_time(session: ClientSession) -> None:
    moments = [1000.0]
    async with SimulatedNode(Behaviour(seconds=600), clock=lambda: moments[-1]) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        while node.tasks[task].started is None:
            await call.info(task)
        seen = []
        for moment in (1000.0, 1300.0, 1599.0):
            moments.append(moment)
            info = await call.get(f"/task/{task}/info?with_output=0")
            seen.append((info["progress"], info["processingTime"], len(info["output"])))
        assert seen == sorted(set(seen))
        assert seen[1][:2] == (45, 300_000)


async def test_only_an_ended_task_is_restarted_and_options_replace(call: NodeCaller) -> None:
    task = await call.submit(options='[{"name":"dsm","value":true}]', skipPostProcessing="true")
    assert await call.post("/task/restart", {"uuid": task}) == {"error": "Task cannot be restarted"}
    await call.post("/task/cancel", {"uuid": task})
    wrong = await call.post("/task/restart", {"uuid": task, "options": '[{"name":"crop","value":"x"}]'})
    assert "crop" in wrong["error"]
    assert (await call.info(task))["status"]["code"] == 50
    again = {"uuid": task, "options": '[{"name":"dtm","value":true}]'}
    assert await call.post("/task/restart", again) == {"success": True}
    assert (await call.until(task, 20))["options"] == [{"name": "dtm", "value": True}]


async def test_a_completed_task_may_be_cancelled(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        await call.until(task, 40)
        for _ in range(2):
            assert await call.post("/task/cancel", {"uuid": task}) == {"success": True}
        info = await call.info(task)
        assert (info["status"]["code"], info["processingTime"]) == (50, -1)


async def test_a_removed_task_leaves_no_file(session: ClientSession, tmp_path: Path) -> None:
    async with SimulatedNode(Behaviour(seconds=600, work_dir=tmp_path)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        assert await call.post("/task/remove", {"uuid": task}) == {"success": True}
        assert await call.info(task) == {"error": f"{task} not found"}
        assert "error" in await call.post("/task/remove", {"uuid": task})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "tasks.json"]


async def test_too_many_images_fail_the_task(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, max_images=1)) as node:
        call = NodeCaller(session, node)
        assert (await call.get("/info"))["maxImages"] == 1
        info = await call.until(await call.submit("a.jpg", "b.jpg"), 30)
        assert "Too many images" in info["status"]["errorMessage"]
        await call.until(await call.submit("a.jpg", "gcp_list.txt"), 40)


async def test_tasks_are_known_again_after_a_clean_exit(session: ClientSession, tmp_path: Path) -> None:
    async with SimulatedNode(Behaviour(seconds=0, work_dir=tmp_path)) as node:
        call = NodeCaller(session, node)
        done = await call.submit()
        await call.until(done, 40)
        node.change(seconds=600)
        running = await call.submit()
        await call.until(running, 20)
    async with SimulatedNode(Behaviour(seconds=0, work_dir=tmp_path)) as node:
        call = NodeCaller(session, node)
        assert (await call.info(done))["status"]["code"] == 40
        async with session.get(f"{node.url}/task/{done}/download/all.zip") as answer:
            assert answer.content_type == "application/zip"
        await call.until(running, 40)
    async with SimulatedNode(Behaviour(work_dir=tmp_path, forget_tasks=True)) as node:
        assert node.tasks == {}


async def test_a_node_that_is_offline_refuses_and_comes_back(call: NodeCaller) -> None:
    task = await call.submit()
    port = call.node.port
    await call.node.go_offline()
    with pytest.raises(ClientError):
        await call.get("/info")
    await call.node.go_online()
    assert call.node.port == port
    assert (await call.info(task))["uuid"] == task


async def test_a_node_may_forget_its_tasks_while_offline(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=600, forget_tasks=True)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        await node.go_offline()
        await node.go_online()
        assert await call.info(task) == {"error": f"{task} not found"}
        assert (await call.get("/info"))["taskQueueCount"] == 0


async def test_a_forgotten_task_may_be_given_to_the_node_again(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, forget_tasks=True)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        await call.until(task, 40)
        await node.go_offline()
        await node.go_online()
        await call.init(task)
        await call.upload(task, "other.jpg")
        assert await call.post(f"/task/new/commit/{task}") == {"uuid": task}
        async with asyncio.timeout(5):
            assert (await call.until(task, 40))["imagesCount"] == 1
