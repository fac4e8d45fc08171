"""An upload is passed on to a node while it arrives; whatever happens to that, the spool serves."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from clusterodm_py.simulated import Behaviour
from harness.cluster import cluster, placed, until, uploaded, uploads
from harness.console import say
from harness.tasks import IMAGES, commit, ended, init, status, submit, upload

SIZES = {name: len(content) for name, content in IMAGES.items()}
LONG = Behaviour(slots=1, seconds=60)


async def test_the_node_has_everything_before_the_commit(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        for name, content in IMAGES.items():
            await upload(proxy, task, {name: content})
        await uploaded(nodes[0], task, len(IMAGES))
        assert task not in nodes[0].tasks
        assert await commit(proxy, task) == {"uuid": task}
        await until(lambda: task in nodes[0].tasks, 2.0)
        assert nodes[0].tasks[task].files == SIZES
        assert await uploads(nodes[0]) == {}


async def test_with_pipelining_off_nothing_is_sent_before_the_commit(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, flags=("--no-pipeline",)) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task)
        assert await uploads(nodes[0]) == {}
        await commit(proxy, task)
        await until(lambda: task in nodes[0].tasks)
        assert nodes[0].tasks[task].files == SIZES


async def test_uploads_at_the_same_time_go_to_different_nodes(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, LONG) as (proxy, nodes):
        tasks = [(await init(proxy))["uuid"] for _ in nodes]
        for task in tasks:
            await upload(proxy, task)
        await until_all_have_one(nodes)
        for task in tasks:
            await commit(proxy, task)
        for task in tasks:
            await placed(nodes, task)
        assert [len(node.tasks) for node in nodes] == [1, 1]


async def until_all_have_one(nodes: list) -> None:  # type: ignore[type-arg]
    async with asyncio.timeout(10):
        while [len(await uploads(node)) for node in nodes] != [1] * len(nodes):
            await asyncio.sleep(0.02)


async def test_a_task_that_outgrows_its_node_moves_to_a_larger_one(tmp_path: Path) -> None:
    small, large = Behaviour(max_images=2, slots=1, seconds=60), LONG
    async with cluster(tmp_path, small, large) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task, {"a.jpg": b"a", "b.jpg": b"b"})
        await uploaded(nodes[0], task, 2)
        await upload(proxy, task, {"c.jpg": b"c"})
        await uploaded(nodes[1], task, 3)
        await commit(proxy, task)
        assert await placed(nodes, task) == 1
        assert nodes[1].tasks[task].files == {"a.jpg": 1, "b.jpg": 1, "c.jpg": 1}
        async with asyncio.timeout(10):
            while await uploads(nodes[0]):
                await asyncio.sleep(0.05)


async def test_an_upload_whose_node_goes_away_is_sent_elsewhere(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task)
        async with asyncio.timeout(10):
            while not (first := [node for node in nodes if task in await uploads(node)]):
                await asyncio.sleep(0.02)
        await uploaded(first[0], task, len(IMAGES))
        await first[0].go_offline()
        await commit(proxy, task)
        other = next(node for node in nodes if node is not first[0])
        await until(lambda: task in other.tasks)
        assert other.tasks[task].files == SIZES


async def test_a_node_locked_meanwhile_does_not_get_the_task(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task, {"a.jpg": b"a"})
        async with asyncio.timeout(10):
            while not (home := [n for n, node in enumerate(nodes) if task in await uploads(node)]):
                await asyncio.sleep(0.02)
        assert "OK" in await say(proxy, f"NODE LOCK {home[0] + 1}")
        await commit(proxy, task)
        assert await placed(nodes, task) == 1 - home[0]


@pytest.mark.parametrize("verb", ["remove", "cancel"])
async def test_what_a_node_got_of_an_abandoned_upload_is_cleaned(tmp_path: Path, verb: str) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task)
        await uploaded(nodes[0], task, len(IMAGES))
        assert await proxy.post(f"/task/{verb}", data={"uuid": task}) == {"success": True}
        async with asyncio.timeout(10):
            while await uploads(nodes[0]):
                await asyncio.sleep(0.05)


async def test_a_kill_in_the_middle_of_an_upload_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task, {"a.jpg": b"a", "b.jpg": b"b"})
        await uploaded(nodes[0], task, 2)
        await proxy.restart()
        await upload(proxy, task, {"c.jpg": b"c"})
        await commit(proxy, task)
        await until(lambda: task in nodes[0].tasks)
        assert nodes[0].tasks[task].files == {"a.jpg": 1, "b.jpg": 1, "c.jpg": 1}


async def test_a_node_that_reads_nothing_holds_up_no_client(tmp_path: Path) -> None:
    stalled = Behaviour(slots=1, seconds=60, stall_uploads=600.0)
    files = {f"{number}.jpg": b"x" * 1_000_000 for number in range(16)}
    async with cluster(tmp_path, stalled) as (proxy, _):
        task = (await init(proxy))["uuid"]
        began = time.monotonic()
        for name, content in files.items():
            await upload(proxy, task, {name: content})
        assert await commit(proxy, task) == {"uuid": task}
        assert time.monotonic() - began < 10
        assert await status(proxy, task) == 20


async def test_uploads_that_are_cut_or_refused_on_the_way_arrive_all_the_same(tmp_path: Path) -> None:
    faulty = Behaviour(slots=1, seconds=0.2, cut_uploads=2, fail_uploads=0.2)
    async with cluster(tmp_path, faulty, faulty) as (proxy, nodes):
        tasks = [await submit(proxy) for _ in range(4)]
        for task in tasks:
            assert await ended(proxy, task) == 40
            assert nodes[await placed(nodes, task)].tasks[task].files == SIZES


async def test_options_reach_the_node_as_they_would_have_after_the_commit(tmp_path: Path) -> None:
    options = [{"name": "dsm", "value": "true"}, {"name": "split", "value": "5"}]
    async with cluster(tmp_path, LONG, flags=("--public-address", "http://cluster:3000")) as (proxy, nodes):
        task = await submit(proxy, options=options, name="a name", webhook="http://hook/")
        await placed(nodes, task)
        got = nodes[0].tasks[task]
        assert (got.fields.name, got.fields.webhook) == ("a name", "http://hook/")
        assert '"sm-cluster"' in got.fields.options
        assert "http://cluster:3000/" in got.fields.options


async def test_a_node_that_hangs_and_then_goes_does_not_keep_a_committed_task(tmp_path: Path) -> None:
    hanging = Behaviour(slots=2, seconds=60, stall_uploads=600.0)
    async with cluster(tmp_path, hanging, LONG) as (proxy, nodes):
        task = (await init(proxy))["uuid"]
        await upload(proxy, task)
        async with asyncio.timeout(10):
            while task not in await uploads(nodes[0]):
                await asyncio.sleep(0.02)
        assert await commit(proxy, task) == {"uuid": task}
        await nodes[0].go_offline()
        await until(lambda: task in nodes[1].tasks, 30.0)
        assert nodes[1].tasks[task].files == SIZES
