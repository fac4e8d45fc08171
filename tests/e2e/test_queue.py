"""Tasks that find no free slot wait here, durably, and who is next is fair (contract §11.2)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from clusterodm_py.simulated import Behaviour
from harness.cluster import cluster, placed, until, waiting
from harness.tasks import IMAGES, commit, ended, info, init, submit, upload

SEED = {"a.jpg": b"a", "seed.zip": b"PK"}
LONG = Behaviour(slots=1, seconds=60)
QUICK = Behaviour(slots=1, seconds=0.3)


async def told(proxy: Any, task: str, code: int, **query: str) -> Any:
    """The task's info, once it shows `code`."""
    async with asyncio.timeout(10):
        while (answer := await info(proxy, task, with_output="0", **query))["status"]["code"] != code:
            await asyncio.sleep(0.05)
    return answer


async def test_a_task_waits_here_and_takes_the_first_slot_that_is_free(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, QUICK, LONG) as (proxy, nodes):
        running = [await submit(proxy) for _ in nodes]
        last = await submit(proxy)
        await told(proxy, last, 10)
        assert not any(last in node.tasks for node in nodes if node is not nodes[1])
        assert await placed(nodes, last) == 1
        assert await ended(proxy, last) == 40
        assert {len(node.tasks) for node in nodes} == {1, 2}
        assert len(running) == 3


async def test_a_waiting_task_is_queued_and_tells_its_place(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        await placed(nodes, await submit(proxy))
        first, second = await submit(proxy), await submit(proxy)
        for place, task in (("number 1 of 2", first), ("number 2 of 2", second)):
            line = (await told(proxy, task, 10))["output"][-1]
            assert place in line
            assert (await proxy.get(f"/task/{task}/output"))[-1] == line
        assert await proxy.post("/task/remove", data={"uuid": first}) == {"success": True}
        assert "number 1 of 1" in (await told(proxy, second, 10))["output"][-1]


async def test_a_child_of_a_split_is_never_called_queued_while_others_work(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        await placed(nodes, await submit(proxy))
        ordinary = await submit(proxy)
        child = await submit(proxy, files=SEED)
        await told(proxy, ordinary, 10)
        for _ in range(10):
            answer = await info(proxy, child, with_output="-3")
            assert answer["status"]["code"] == 20
            assert len(answer["output"]) < 3
            await asyncio.sleep(0.02)


async def test_children_whose_parents_hold_every_slot_are_told_the_truth(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        await placed(nodes, await submit(proxy, options=[{"name": "split", "value": 2}]))
        child = await submit(proxy, files=SEED)
        await told(proxy, child, 10)


async def test_a_waiting_task_outlives_a_kill_and_keeps_its_turn(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(slots=1, seconds=1.5)) as (proxy, nodes):
        tasks = [await submit(proxy) for _ in range(3)]
        await told(proxy, tasks[2], 10)
        await proxy.restart()
        for task in tasks:
            assert await ended(proxy, task) == 40
        assert list(nodes[0].tasks) == tasks
        assert [nodes[0].tasks[task].starts for task in tasks] == [1, 1, 1]


async def test_slots_are_shared_between_tokens(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(slots=1, seconds=0.5), flags=tokens(tmp_path)) as (proxy, nodes):
        many = [await submit(proxy, token="alice") for _ in range(4)]
        one = await submit(proxy, token="bob")
        await until(lambda: len(nodes[0].tasks) == 5)
        assert list(nodes[0].tasks).index(one) == 1
        assert [task for task in nodes[0].tasks if task != one] == many


async def test_a_token_with_priority_goes_first_among_equals(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(slots=1, seconds=1), flags=tokens(tmp_path)) as (proxy, nodes):
        await placed(nodes, await submit(proxy, token="alice"))
        usual = await submit(proxy, token="bob")
        urgent = await submit(proxy, token="carol")
        await until(lambda: len(nodes[0].tasks) == 3)
        assert list(nodes[0].tasks)[1:] == [urgent, usual]


async def test_a_big_task_does_not_hold_up_what_fits_a_small_node(tmp_path: Path) -> None:
    small = Behaviour(slots=1, seconds=60, max_images=2)
    async with cluster(tmp_path, LONG, small) as (proxy, nodes):
        await placed(nodes, await submit(proxy))
        big = await submit(proxy)
        await told(proxy, big, 10)
        assert await placed(nodes, await submit(proxy, files={"a.jpg": b"a"})) == 1
        assert (await info(proxy, big))["status"]["code"] == 10


async def test_with_the_queue_at_nodes_a_full_one_takes_it(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG, flags=("--queue", "node")) as (proxy, nodes):
        tasks = [await submit(proxy) for _ in range(3)]
        await until(lambda: len(nodes[0].tasks) == 3)
        assert set(nodes[0].tasks) == set(tasks)
        await waiting(proxy, 2)


async def test_a_slot_that_others_freed_on_the_node_is_seen(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        first = await submit(proxy)
        await placed(nodes, first)
        second = await submit(proxy)
        await told(proxy, second, 10)
        await proxy.session.post(f"{nodes[0].url}/task/cancel", data={"uuid": first})
        await until(lambda: second in nodes[0].tasks, 5.0)


async def test_a_waiting_task_can_be_canceled_and_restarted(tmp_path: Path) -> None:
    async with cluster(tmp_path, LONG) as (proxy, nodes):
        first = await submit(proxy)
        await placed(nodes, first)
        second = await submit(proxy)
        await told(proxy, second, 10)
        assert await proxy.post("/task/cancel", data={"uuid": second}) == {"success": True}
        await told(proxy, second, 50)
        await proxy.post("/task/cancel", data={"uuid": first})
        third = await submit(proxy)
        await placed(nodes, third)
        assert second not in nodes[0].tasks


async def test_an_upload_can_be_committed_when_every_slot_is_taken(tmp_path: Path) -> None:
    """Whatever was passed on while it arrived, the slot belongs to who committed first."""
    async with cluster(tmp_path, Behaviour(slots=1, seconds=1)) as (proxy, nodes):
        early = (await init(proxy))["uuid"]
        await upload(proxy, early)
        late = await submit(proxy, files={"other.jpg": b"x" * 500})
        assert await commit(proxy, early) == {"uuid": early}
        assert [await ended(proxy, task) for task in (late, early)] == [40, 40]
        assert list(nodes[0].tasks) == [late, early]
        assert nodes[0].tasks[early].files == {name: len(content) for name, content in IMAGES.items()}


def tokens(folder: Path) -> tuple[str, ...]:
    file = folder / "tokens.json"
    limits = {"alice": {}, "bob": {}, "carol": {"priority": 5}}
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "limits": limit}
        for name, limit in limits.items()
    ]
    file.write_text(json.dumps({"tokens": entries}))
    return ("--tokens-file", str(file))
