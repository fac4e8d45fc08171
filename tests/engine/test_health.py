"""What is known of nodes: bounded in time, never from an older answer, and cheap to ask for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.lifecycle import HealthPolicy
from clusterodm_py.core.types import Address, Health, Node, NodeId, Token
from clusterodm_py.engine.health import WatchPolicy
from harness.engine import NOW, Parts, Policies, a_task, closed_port_node, engine, until
from harness.scripted_node import BAD_TOKEN, INFO, Drop, Hold, Raw, ScriptedNode, Status

SELDOM = Policies(watch=WatchPolicy(interval=60.0))


def slots(parts: Parts, node: Node) -> int:
    return parts.watch._watched[node.id].view.slots


async def test_a_node_is_up_at_its_first_answer_and_a_dead_one_down_at_its_first_miss(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node, closed_port_node()) as parts:
        assert [view.health for view in await parts.watch.views()] == [Health.UP, Health.DOWN]
        assert parts.watch.health_of(NodeId("unknown:1")) is None


@pytest.mark.parametrize("reply", [BAD_TOKEN, Status(502), Raw("[" * 100_000), [[]], Drop()])
async def test_a_node_that_makes_no_sense_is_not_up_and_is_asked_again(tmp_path: Path, reply: object) -> None:
    async with (
        ScriptedNode({"info": [reply, INFO]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await until(lambda: parts.watch.health_of(other.node.id) is Health.UP)


async def test_a_hanging_node_delays_nobody(tmp_path: Path) -> None:
    hold = Hold(INFO)
    async with (
        ScriptedNode({"info": hold}) as hanging,
        ScriptedNode() as other,
        engine(tmp_path, hanging.node, other.node, watching=False) as parts,
    ):
        await parts.watch.sync()
        began = asyncio.get_running_loop().time()
        await parts.watch.freshen([hanging.node.id, other.node.id], max_age=0.0, patience=0.2)
        assert asyncio.get_running_loop().time() - began < 1.0
        await until(lambda: parts.watch.health_of(other.node.id) is Health.UP)
        hold.open.set()


async def test_an_answer_asked_for_before_is_not_fresh(tmp_path: Path) -> None:
    old, new = Hold({**INFO, "maxParallelTasks": 1}), {**INFO, "maxParallelTasks": 9}
    async with (
        ScriptedNode({"info": [INFO, INFO, old, new]}) as other,
        engine(tmp_path, other.node, policies=SELDOM) as parts,
    ):
        await until(lambda: other.count("info") == 2)
        under_way = parts.background.start(
            "asked before", parts.watch.freshen([other.node.id], max_age=0.0, patience=5.0)
        )
        await old.came.wait()
        freshened = parts.background.start(
            "asked now", parts.watch.freshen([other.node.id], max_age=0.0, patience=5.0)
        )
        await asyncio.sleep(0)
        old.open.set()
        await asyncio.wait([under_way, freshened])
        assert slots(parts, other.node) == 9


async def test_an_older_answer_never_replaces_a_newer_one(tmp_path: Path) -> None:
    slow = Hold({**INFO, "maxParallelTasks": 1})
    async with (
        ScriptedNode({"info": [slow, {**INFO, "maxParallelTasks": 9}]}) as other,
        engine(tmp_path, other.node, policies=SELDOM, watching=False) as parts,
    ):
        await parts.watch.sync()
        await slow.came.wait()
        assert await parts.watch.refresh(other.node.id)
        slow.open.set()
        await until(lambda: other.count("info") == 2)
        await parts.connection.json(other.node, "GET", "/options")  # a round trip: the slow answer is through
        assert slots(parts, other.node) == 9


async def test_a_clock_set_back_stops_nothing(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"info": [INFO, {**INFO, "maxParallelTasks": 9}]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        parts.clock.now -= 3600
        await until(lambda: slots(parts, other.node) == 9)


async def test_a_gap_seen_by_many_placements_is_one_missed_poll(tmp_path: Path) -> None:
    async with ScriptedNode({"info": [INFO, Drop()]}) as other:
        policies = Policies(watch=WatchPolicy(interval=30.0, health=HealthPolicy(misses_to_down=3)))
        async with engine(tmp_path, other.node, policies=policies) as parts:
            for _ in range(5):
                await parts.watch.refresh(other.node.id)
            assert parts.watch.health_of(other.node.id) is Health.SHAKY


async def test_a_removed_node_is_asked_no_more_and_one_added_again_starts_anew(tmp_path: Path) -> None:
    hold = Hold(BAD_TOKEN)
    async with (
        ScriptedNode({"info": [INFO, hold, INFO]}) as other,
        engine(tmp_path, other.node, policies=SELDOM) as parts,
    ):
        asked = parts.background.start("old question", parts.watch.refresh(other.node.id))
        await hold.came.wait()
        await parts.store.nodes.remove(other.node.id)
        await parts.watch.sync()
        assert await parts.watch.views() == ()
        await parts.store.nodes.add(replace(other.node, token=Token("new")))
        await parts.watch.sync()
        await until(lambda: parts.watch.health_of(other.node.id) is Health.UP)
        hold.open.set()  # "bad token", said to the former one
        await asyncio.wait([asked])
        assert parts.watch.health_of(other.node.id) is Health.UP


async def test_removed_while_its_poll_was_about_to_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node, policies=SELDOM) as parts:
        freshen = parts.background.start(
            "freshen", parts.watch.freshen([other.node.id], max_age=0.0, patience=5.0)
        )
        await parts.store.nodes.remove(other.node.id)
        await parts.watch.sync()
        assert not await parts.watch.refresh(other.node.id)
        await asyncio.wait([freshen])
    assert "failed" not in caplog.text


async def test_views_show_locks_and_held_slots_of_this_moment(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.store.tasks.reserve(await parts.store.tasks.create(a_task()), other.node.id, slots=None)
        await parts.store.nodes.replace(replace(other.node, locked=True))
        (view,) = await parts.watch.views()
        assert (view.in_flight, view.node.locked) == (1, True)


async def test_was_away_is_true_where_nobody_was_watching(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"info": [INFO, INFO, Status(502), INFO]}) as other,
        engine(tmp_path, other.node, policies=SELDOM) as parts,
    ):
        await until(lambda: other.count("info") == 2)
        parts.clock.now = NOW + 10
        assert not parts.watch.was_away(other.node.id, NOW + 5)
        assert parts.watch.was_away(other.node.id, NOW - 5)
        assert parts.watch.was_away(NodeId("unknown:1"), NOW + 5)
        await parts.watch.refresh(other.node.id)
        assert parts.watch.was_away(other.node.id, NOW + 5)


async def test_whoever_waits_is_woken_when_a_node_comes_and_not_by_every_poll(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"info": [Status(502), INFO]}) as other,
        engine(tmp_path, other.node, policies=SELDOM, watching=False) as parts,
    ):
        await parts.watch.sync()
        await until(lambda: parts.watch.health_of(other.node.id) is Health.DOWN)
        waits = parts.background.start("waits", parts.watch.changed(30.0))
        await asyncio.sleep(0)
        await parts.watch.refresh(other.node.id)
        await asyncio.wait_for(waits, 5)
        again = parts.background.start("waits again", parts.watch.changed(30.0))
        await asyncio.sleep(0)
        await parts.watch.refresh(other.node.id)
        assert not again.done()


async def test_the_views_of_a_thousand_nodes_cost_next_to_nothing(tmp_path: Path) -> None:
    async with engine(tmp_path, watching=False) as parts:
        for number in range(1000):
            await parts.store.nodes.add(Node(address=Address("10.0.0.1", 1 + number)))
        await parts.watch.views()
        first, second = await parts.watch.views(), await parts.watch.views()
        assert len(first) == len(second) == 1000
        began = time.process_time()
        for _ in range(10):
            await parts.watch.views()
        assert time.process_time() - began < 0.5
