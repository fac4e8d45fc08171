from __future__ import annotations

import asyncio
import math

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.simulated import Behaviour, SimulatedNode
from clusterodm_py.simulated.faults import Faults
from harness.node_caller import NodeCaller, files

SOON = ClientTimeout(total=0.3)


async def test_every_second_task_fails(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, fail_tasks=2)) as node:
        call = NodeCaller(session, node)
        await call.until(await call.submit(), 40)
        info = await call.until(await call.submit(), 30)
        assert info["status"]["errorMessage"] == "Cannot process dataset"
        assert info["progress"] == 100
        assert "Cannot process dataset" in (await call.get(f"/task/{info['uuid']}/output"))[-1]


def test_a_share_is_drawn_and_depends_on_the_seed_alone() -> None:
    def draws(seed: int) -> list[bool]:
        faults = Faults(Behaviour(fail_tasks=0.3, seed=seed))
        return [faults.task_fails() for _ in range(300)]

    assert draws(1) == draws(1) != draws(2)
    assert 60 < sum(draws(1)) < 120


def test_no_fault_happens_unasked() -> None:
    faults = Faults(Behaviour())
    for _ in range(10):
        asked = (
            faults.task_fails(),
            faults.upload_fails(),
            faults.upload_is_cut(),
            faults.commit_reply_is_lost(),
        )
        assert not any(asked)


def test_what_could_never_work_is_refused() -> None:
    for wrong in ({"slots": 0}, {"speed": 0.0}):
        with pytest.raises(BadRequest):
            Behaviour(**wrong)
    with pytest.raises(BadRequest):
        Behaviour(fail_uploads_with="404")


async def test_the_first_uploads_fail_and_the_next_do_not(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(fail_uploads=2)) as node:
        call = NodeCaller(session, node)
        task = (await call.init())["uuid"]
        url = f"{node.url}/task/new/upload/{task}"
        statuses = []
        for _ in range(3):
            async with session.post(url, data=files("a.jpg")) as answer:
                statuses.append(answer.status)
        assert statuses == [500, 500, 200]
        node.change(fail_uploads=1, fail_uploads_with="error")
        assert "error" in await call.upload(task, "b.jpg")
        assert await call.upload(task, "b.jpg") == {"success": True}


async def test_a_cut_upload_breaks_the_connection_and_keeps_no_file(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, cut_uploads=1)) as node:
        call = NodeCaller(session, node)
        task = (await call.init())["uuid"]
        with pytest.raises(ClientError):
            await call.upload(task, "a.jpg", content=bytes(900_000))
        assert await call.upload(task, "a.jpg") == {"success": True}
        await call.post(f"/task/new/commit/{task}")
        assert node.tasks[task].files == {"a.jpg": len(b"picture")}


async def test_a_commit_may_be_taken_without_a_reply(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=0, lose_commit_replies=1)) as node:
        call = NodeCaller(session, node)
        task = (await call.init())["uuid"]
        await call.upload(task, "a.jpg")
        with pytest.raises(ClientError):
            await call.post(f"/task/new/commit/{task}")
        await call.until(task, 40)


async def test_a_stalled_upload_gets_no_answer_in_time(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(stall_uploads=math.inf)) as node:
        call = NodeCaller(session, node)
        task = (await call.init())["uuid"]
        with pytest.raises(TimeoutError):
            await call.post(f"/task/new/upload/{task}", files("a.jpg"), timeout=SOON)
        node.change(stall_uploads=0)
        assert await call.upload(task, "a.jpg") == {"success": True}


async def test_info_may_hang_while_the_rest_answers(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(hang_info=True)) as node:
        call = NodeCaller(session, node)
        with pytest.raises(TimeoutError):
            async with session.get(node.url + "/info", timeout=SOON):
                pass
        assert await call.get("/task/list") == []


async def test_a_node_goes_offline_when_told(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(offline_after=0.05)) as node:
        call = NodeCaller(session, node)

        async def ask_for_ever() -> None:
            while True:
                await call.get("/info")

        with pytest.raises(ClientError):
            await asyncio.wait_for(ask_for_ever(), 10)
