"""Which node gets a task, what the node gets, and what happens when nodes misbehave (contract §4, §5, §13)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.cluster import cluster, placed, until, waiting
from harness.console import say
from harness.gate import Gate
from harness.proxy import ProxyProcess
from harness.tasks import IMAGES, commit, ended, info, init, submit, upload


async def test_the_freest_node_first_then_in_turn(tmp_path: Path) -> None:
    slow = Behaviour(seconds=60)
    async with cluster(tmp_path, replace(slow, slots=1), replace(slow, slots=2)) as (proxy, nodes):
        order = [await placed(nodes, await submit(proxy)) for _ in range(3)]
    assert order == [1, 0, 1]


async def test_a_burst_never_takes_a_slot_twice(tmp_path: Path) -> None:
    slow = Behaviour(seconds=60, slots=2)
    async with cluster(tmp_path, slow, slow, slow) as (proxy, nodes):
        tasks = await asyncio.gather(*(submit(proxy) for _ in range(6)))
        await until(lambda: sum(len(node.tasks) for node in nodes) == len(tasks))
        assert [len(node.tasks) for node in nodes] == [2, 2, 2]
        await waiting(proxy, 0)
        await submit(proxy)
        await waiting(proxy, 1)


async def test_a_locked_node_gets_nothing_and_with_none_left_the_upload_is_kept(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2), Behaviour(seconds=0.2)) as (proxy, nodes):
        assert "OK" in await say(proxy, "NODE LOCK 1")
        assert {await placed(nodes, await submit(proxy)) for _ in range(3)} == {1}
        assert "OK" in await say(proxy, "NODE LOCK 2")
        task = (await init(proxy))["uuid"]
        await upload(proxy, task)
        assert "No nodes available" in (await commit(proxy, task))["error"]
        assert "OK" in await say(proxy, "NODE UNLOCK 2")
        assert await commit(proxy, task) == {"uuid": task}
        assert await ended(proxy, task) == 40


async def test_the_smallest_sufficient_image_limit_wins(tmp_path: Path) -> None:
    sizes = [Behaviour(max_images=size, slots=4, seconds=60) for size in (None, 10, 2)]
    many = {f"{number}.jpg": b"x" for number in range(12)}
    async with cluster(tmp_path, *sizes) as (proxy, nodes):
        assert await placed(nodes, await submit(proxy, files={"1.jpg": b"x"})) == 2
        assert await placed(nodes, await submit(proxy)) == 1
        assert await placed(nodes, await submit(proxy, files=many)) == 0


async def test_the_node_gets_everything_the_client_said_and_never_its_token(tmp_path: Path) -> None:
    behaviour = Behaviour(token="nodetok", seconds=0.2, work_dir=tmp_path / "n")
    said: dict[str, Any] = {
        "name": "all of it",
        "webhook": "http://127.0.0.1:1/hook",
        "outputs": '["odm_dem"]',
        "skipPostProcessing": "true",
        "dateCreated": "1700000000000",
    }
    async with (
        SimulatedNode(behaviour) as node,
        Gate(node.port) as gate,
        ProxyProcess(
            tmp_path / "data",
            nodes=(f"127.0.0.1:{gate.port}?token=nodetok",),
            flags=("--token", "usertok", "--log-level", "debug"),
        ) as proxy,
    ):
        task = await submit(proxy, token="usertok", options=[{"name": "dsm", "value": "true"}], **said)
        assert await ended(proxy, task, token="usertok") == 40
        received = node.tasks[task]
        assert received.headers["set-uuid"] == task
        assert json.loads(received.fields.options) == [{"name": "dsm", "value": True}]
        assert (received.fields.name, received.fields.webhook) == (said["name"], said["webhook"])
        assert (received.fields.outputs, received.fields.skip_post_processing) == (said["outputs"], True)
        assert received.fields.date_created == 1700000000000
        assert gate.seen
        assert all("token=nodetok" in url and "usertok" not in url for url in gate.seen)
        assert "tok" not in proxy.log.replace("token", "")


async def test_a_node_that_fails_uploads_at_random_gets_every_image_once(tmp_path: Path) -> None:
    flaky = Behaviour(seconds=0.2, fail_uploads=0.4)
    files = {f"{number}.jpg": bytes([number]) * 100 for number in range(20)}
    async with cluster(tmp_path, flaky) as (proxy, nodes):
        task = await submit(proxy, files=files)
        assert await ended(proxy, task, seconds=60) == 40
        assert dict(nodes[0].tasks[task].files) == dict.fromkeys(files, 100)


async def test_an_upload_cut_in_its_middle_is_begun_again_without_duplicates(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2, cut_uploads=1)) as (proxy, nodes):
        task = await submit(proxy)
        assert await ended(proxy, task, seconds=60) == 40
        assert dict(nodes[0].tasks[task].files) == {name: len(data) for name, data in IMAGES.items()}
        assert nodes[0].tasks[task].starts == 1


async def test_another_node_takes_over_when_one_refuses(tmp_path: Path) -> None:
    broken = Behaviour(slots=4, fail_uploads=1000, seconds=0.2)
    async with cluster(tmp_path, broken, Behaviour(seconds=0.2)) as (proxy, nodes):
        task = await submit(proxy)
        assert await ended(proxy, task, seconds=60) == 40
        assert task in nodes[1].tasks
        assert task not in nodes[0].tasks


async def test_a_task_no_node_takes_fails_with_its_reason_and_can_be_restarted(tmp_path: Path) -> None:
    broken = Behaviour(fail_uploads=10_000, seconds=0.2)
    async with cluster(tmp_path, broken, flags=("--dispatch-retries", "1")) as (proxy, nodes):
        task = await submit(proxy)
        before = await info(proxy, task, with_output="0")
        assert await ended(proxy, task, seconds=60) == 30
        told = await info(proxy, task, with_output="0")
        assert "500" in told["status"]["errorMessage"]
        assert told["output"][: len(before["output"])] == before["output"]
        assert "500" in told["output"][-1]
        nodes[0].change(fail_uploads=0)
        assert await proxy.post("/task/restart", data={"uuid": task}) == {"success": True}
        assert await ended(proxy, task) == 40


@pytest.mark.parametrize("verb", ["remove", "cancel"])
@pytest.mark.parametrize("step", ["/task/new/init", "/task/new/upload", "/task/new/commit"])
async def test_giving_up_a_stalled_dispatch_frees_its_slot_at_once(
    tmp_path: Path, verb: str, step: str
) -> None:
    async with (
        SimulatedNode(Behaviour(slots=1, seconds=0.2, work_dir=tmp_path / "n")) as node,
        Gate(node.port) as gate,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{gate.port}",)) as proxy,
    ):
        gate.hold(step, after=step.endswith("commit"))
        task = await submit(proxy)
        await asyncio.wait_for(gate.held.wait(), 10)
        async with asyncio.timeout(3):
            assert await proxy.post(f"/task/{verb}", data={"uuid": task}) == {"success": True}
        told = await info(proxy, task)
        assert told["error"] if verb == "remove" else told["status"]["code"] == 50
        gate.open()
        await until(lambda: task not in node.tasks)
        assert await ended(proxy, await submit(proxy)) == 40
        assert task not in node.tasks


async def test_an_unreachable_node_leaves_its_last_info_and_output_and_drops_the_rest(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2)) as (proxy, nodes):
        task = await submit(proxy, name="kept")
        assert await ended(proxy, task) == 40
        await until_stored(proxy, task)
        lines = await proxy.get(f"/task/{task}/output")
        await nodes[0].go_offline()
        told = await info(proxy, task)
        assert (told["name"], told["status"]["code"]) == ("kept", 40)
        assert await proxy.get(f"/task/{task}/output") == lines
        with pytest.raises(aiohttp.ClientConnectionError):
            await proxy.get(f"/task/{task}/download/all.zip")


async def until_stored(proxy: ProxyProcess, task: str) -> None:
    """The tracker knows of the end: the slot is free again."""
    async with asyncio.timeout(10):
        while f"task={task}" not in proxy.log or "ended" not in proxy.log:
            await asyncio.sleep(0.05)


async def test_a_hanging_node_delays_nobody(tmp_path: Path) -> None:
    hanging = Behaviour(hang_info=True, slots=9)
    async with cluster(tmp_path, hanging, Behaviour(seconds=0.2)) as (proxy, nodes):
        async with asyncio.timeout(8):
            task = await submit(proxy)
            assert await ended(proxy, task) == 40
        assert task in nodes[1].tasks


async def test_split_merge_gets_this_clusters_address(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2)) as (proxy, _):
        task = await submit(proxy, options=[{"name": "split", "value": "5"}])
        options = {option["name"]: option["value"] for option in (await info(proxy, task))["options"]}
        assert options["sm-cluster"] == f"http://127.0.0.1:{proxy.port}/"
        assert options["split"] == 5


async def test_seed_zip_keeps_its_name(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2)) as (proxy, nodes):
        task = await submit(proxy, files={**IMAGES, "seed.zip": b"PK"})
        assert await ended(proxy, task) == 40
        assert "seed.zip" in nodes[0].tasks[task].files


async def test_without_splitmerge_seed_zip_is_refused_and_sm_cluster_dropped(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=0.2), flags=("--no-splitmerge",)) as (proxy, _):
        wish = [{"name": "split", "value": "5"}, {"name": "sm-cluster", "value": "http://evil:1/"}]
        task = await submit(proxy, options=wish)
        names = [option["name"] for option in (await info(proxy, task))["options"]]
        assert "split" in names
        assert "sm-cluster" not in names
        seeded = (await init(proxy))["uuid"]
        await upload(proxy, seeded, {"seed.zip": b"PK"})
        assert "split-merge cluster" in (await commit(proxy, seeded))["error"]


async def test_a_client_cannot_point_nodes_elsewhere(tmp_path: Path) -> None:
    flags = ("--public-address", "https://cluster.example:8443")
    async with cluster(tmp_path, Behaviour(seconds=0.2), flags=flags) as (proxy, _):
        task = await submit(proxy, options=[{"name": "sm-cluster", "value": "http://evil:1/"}])
        assert {"name": "sm-cluster", "value": "https://cluster.example:8443/"} in (await info(proxy, task))[
            "options"
        ]
