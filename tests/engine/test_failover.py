"""Tasks of nodes that are gone start again elsewhere, once; those of nodes that may be back soon are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.failover import FailoverPolicy
from clusterodm_py.core.types import Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.engine.health import WatchPolicy
from clusterodm_py.store.tables import AddStray, Change, DropTask, PutTask
from harness.engine import ID, NOW, Parts, Policies, a_task, an_id, closed_port_node, engine, until
from harness.scripted_node import BAD_TOKEN, INFO, RUNNING, UNKNOWN, Hold, ScriptedNode, Status

QUICK = Policies(watch=WatchPolicy(interval=0.02), failover=FailoverPolicy(after=0.05, retries=1))
GONE = closed_port_node()
FAILED = {
    "status": {"code": 30, "errorMessage": "Not enough memory"},
    "processingTime": 5,
    "output": ["a", "b"],
}


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNode]:
    async with ScriptedNode() as node:
        yield node


async def on(parts: Parts, node: Node, **changes: object) -> Task:
    return await parts.keep(a_task(ID, TaskState.ON_NODE, node=node.id, **changes))


async def strays(parts: Parts) -> list[tuple[TaskId, NodeId]]:
    return list(await parts.store.strays.all())


async def silent_for_long(parts: Parts) -> None:
    def long() -> bool:
        silence = parts.watch.silence(GONE.id)
        return silence is not None and silence.seconds > 0.1

    await until(long)


async def test_the_task_of_a_dead_node_is_queued_and_its_copy_noted(
    tmp_path: Path, other: ScriptedNode
) -> None:
    async with engine(tmp_path, GONE, other.node, policies=QUICK) as parts:
        await on(parts, GONE, attempts=2, lines=("ours",), touched=(GONE.id,))
        parts.tracker.follow(ID)
        await until(lambda: parts.requeued == [ID])
        task = parts.record()
        assert (task.state, task.node, task.report, task.moves, task.attempts) == (
            TaskState.QUEUED,
            None,
            None,
            1,
            0,
        )
        assert task.kept == 1
        assert "went away" in task.lines[0]
        assert await strays(parts) == [(ID, GONE.id)]
        assert await parts.spool.files(ID)


@pytest.mark.parametrize(
    "reason", ["nobody else", "locked", "too small", "images gone", "given up", "imported"]
)
async def test_a_task_that_cannot_start_elsewhere_waits_for_its_node(tmp_path: Path, reason: str) -> None:
    small = {**INFO, "maxImages": 1}
    async with ScriptedNode({"info": small}) as other:
        nodes = [GONE] if reason == "nobody else" else [GONE, replace(other.node, locked=reason == "locked")]
        async with engine(tmp_path, *nodes, policies=QUICK) as parts:
            task = a_task(
                state=TaskState.ON_NODE,
                node=GONE.id,
                images=2 if reason == "too small" else 1,
                recoverable=reason != "given up",
                committed=None if reason == "imported" else NOW,
            )
            await parts.keep(task, [] if reason in ("images gone", "imported") else ["a.jpg"])
            await silent_for_long(parts)
            assert await parts.failover.silent(parts.record(), GONE.id) is None
            assert parts.record() == replace(task, version=1)
            assert await strays(parts) == []


async def test_a_task_that_lives_and_dies_with_its_node_fails_only_after_very_long(
    tmp_path: Path, other: ScriptedNode
) -> None:
    policies = Policies(watch=WatchPolicy(interval=0.02), failover=FailoverPolicy(after=0.01, give_up=0.05))
    async with engine(tmp_path, GONE, other.node, policies=policies) as parts:
        await on(parts, GONE, recoverable=False, lines=("ours",))
        parts.tracker.follow(ID)
        await until(lambda: parts.state() is TaskState.FAILED)
        task = parts.record()
        assert "images" in (task.error or "")
        assert await parts.transcript.read(task, "0") == ["ours", task.error]
        assert (task.node, task.ended) == (None, NOW)
        assert await strays(parts) == [(ID, GONE.id)]


async def test_a_node_that_is_back_when_it_is_asked_once_more_keeps_its_tasks(
    tmp_path: Path, other: ScriptedNode
) -> None:
    seldom = Policies(watch=WatchPolicy(interval=60.0), failover=FailoverPolicy(after=0.0))
    replies = {"info": [Status(502), Status(502), INFO]}
    async with (
        ScriptedNode(replies) as back,
        engine(tmp_path, back.node, other.node, policies=seldom) as parts,
    ):
        await until(lambda: back.count("info") == 2 and parts.watch.silence(back.node.id) is not None)
        await on(parts, back.node)
        assert await parts.failover.silent(parts.record(), back.node.id) is None
        assert back.count("info") == 3
        assert parts.state() is TaskState.ON_NODE


async def test_a_node_that_refuses_us_is_not_silent(tmp_path: Path, other: ScriptedNode) -> None:
    async with (
        ScriptedNode({"info": BAD_TOKEN}) as sulking,
        engine(tmp_path, sulking.node, other.node, policies=QUICK) as parts,
    ):
        await on(parts, sulking.node)
        parts.tracker.follow(ID)
        asked = sulking.count("info")
        await until(lambda: sulking.count("info") > asked + 5)
        silence = parts.watch.silence(sulking.node.id)
        assert silence is not None
        assert silence.seconds == 0.0
        assert parts.state() is TaskState.ON_NODE


async def test_a_closed_port_is_told_from_silence(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"info": Status(502)}) as gateway,
        engine(tmp_path, GONE, gateway.node, policies=QUICK) as parts,
    ):
        await until(lambda: parts.watch.silence(gateway.node.id) is not None)
        closed, silent = parts.watch.silence(GONE.id), parts.watch.silence(gateway.node.id)
        assert closed is not None
        assert closed.refused
        assert silent is not None
        assert not silent.refused


async def test_a_node_that_was_removed_is_silent_since_then(tmp_path: Path, other: ScriptedNode) -> None:
    async with engine(tmp_path, other.node, policies=QUICK) as parts:
        assert parts.watch.silence(other.node.id) is None
        await parts.store.nodes.remove(other.node.id)
        await parts.watch.sync()
        removed, never_there = parts.watch.silence(other.node.id), parts.watch.silence(GONE.id)
        assert removed is not None
        assert never_there is not None
        assert removed.seconds <= never_there.seconds < 5.0


async def test_the_task_of_a_removed_node_starts_on_another(tmp_path: Path, other: ScriptedNode) -> None:
    async with engine(tmp_path, other.node, policies=QUICK) as parts:
        await on(parts, GONE)
        parts.tracker.follow(ID)
        await until(lambda: parts.requeued == [ID])


async def test_the_copy_is_noted_before_the_task_can_go_elsewhere(
    tmp_path: Path, other: ScriptedNode
) -> None:
    changes: list[Change] = []
    async with engine(tmp_path, GONE, other.node, policies=QUICK) as parts:

        def seen(change: Change) -> bool:
            changes.append(change)
            return False

        await on(parts, GONE)
        parts.store.broken = seen
        parts.tracker.follow(ID)
        await until(lambda: parts.requeued == [ID])
        kinds = [type(change) for change in changes]
        assert kinds.index(AddStray) < kinds.index(PutTask)


async def test_a_move_cut_short_leaves_the_task_where_it_is_and_its_copy_alone(
    tmp_path: Path, other: ScriptedNode
) -> None:
    async with engine(tmp_path, GONE, other.node, policies=QUICK) as parts:
        await on(parts, GONE)
        parts.store.broken, parts.store.failures = lambda change: isinstance(change, PutTask), 1
        parts.tracker.follow(ID)
        await until(lambda: parts.store.failed == 1)
        assert parts.state() is TaskState.ON_NODE
        assert await parts.strays._wanted_there(ID, GONE.id)
        await until(lambda: parts.requeued == [ID])


async def test_a_cancel_on_the_way_wins(tmp_path: Path, other: ScriptedNode) -> None:
    async with engine(tmp_path, GONE, other.node, policies=QUICK) as parts:
        stale = await on(parts, GONE)
        await parts.store.tasks.save(replace(stale, state=TaskState.CANCELED, ended=NOW))
        await silent_for_long(parts)
        assert await parts.failover.silent(stale, GONE.id) is None
        assert parts.state() is TaskState.CANCELED


async def test_an_imported_route_that_leads_nowhere_is_dropped_with_its_output(
    tmp_path: Path, other: ScriptedNode
) -> None:
    other.replies["report"] = UNKNOWN
    async with engine(tmp_path, other.node, policies=QUICK) as parts:
        task = await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id, committed=None), [])
        await parts.transcript.take(task, 0, ["a line"])
        parts.tracker.follow(ID)
        await until(lambda: ID not in parts.store.tables.tasks)
        await until(lambda: not list(tmp_path.rglob("*.log")))


async def test_a_failed_submodel_runs_again_and_its_output_goes_on(
    tmp_path: Path, other: ScriptedNode
) -> None:
    async with (
        ScriptedNode({"report": [{**FAILED, "output": ["a"]}, {**FAILED, "output": ["a", "b"]}]}) as bad,
        engine(tmp_path, bad.node, other.node, policies=QUICK) as parts,
    ):
        await on(parts, bad.node, child=True)
        parts.tracker.follow(ID)
        await until(lambda: parts.requeued == [ID])
        task = parts.record()
        assert (task.state, task.retries, task.avoid, task.moves) == (TaskState.QUEUED, 1, (bad.node.id,), 0)
        lines = await parts.transcript.read(task, "0")
        assert lines[:2] == ["a", "b"]
        assert "Not enough memory" in lines[2]
        assert await parts.spool.files(ID)
        await parts.sweep()
        assert bad.count("remove") == 1
        assert await strays(parts) == []


@pytest.mark.parametrize("why", ["no child", "often enough", "images gone", "nobody else", "others avoided"])
async def test_any_other_failure_is_told_at_once(tmp_path: Path, other: ScriptedNode, why: str) -> None:
    async with ScriptedNode({"report": FAILED}) as bad:
        nodes = [bad.node] if why == "nobody else" else [bad.node, other.node]
        async with engine(tmp_path, *nodes, policies=QUICK) as parts:
            task = a_task(
                state=TaskState.ON_NODE,
                node=bad.node.id,
                child=why != "no child",
                retries=int(why == "often enough"),
                avoid=(other.node.id,) if why == "others avoided" else (),
            )
            await parts.keep(task, [] if why == "images gone" else ["a.jpg"])
            parts.tracker.follow(ID)
            await until(lambda: parts.state() is TaskState.FAILED)
            assert parts.record().node == bad.node.id
            assert parts.record().error == "Not enough memory"
            assert await strays(parts) == []


async def test_two_who_hear_of_the_same_failure_bring_one_new_run(
    tmp_path: Path, other: ScriptedNode
) -> None:
    async with (
        ScriptedNode({"report": FAILED}) as bad,
        engine(tmp_path, bad.node, other.node, policies=QUICK) as parts,
    ):
        task = await on(parts, bad.node, child=True)
        report = await parts.client.report(bad.node, ID)
        await asyncio.gather(*(parts.tracker.told(task, report) for _ in range(5)))
        assert parts.requeued == [ID]
        assert parts.record().retries == 1


async def test_a_task_removed_meanwhile_is_not_brought_back(tmp_path: Path, other: ScriptedNode) -> None:
    async with engine(tmp_path, GONE, other.node, policies=QUICK) as parts:
        task = await on(parts, GONE)
        parts.store.tables.apply(DropTask(ID))
        await silent_for_long(parts)
        assert await parts.failover.silent(task, GONE.id) is None
        assert ID not in parts.store.tables.tasks


async def test_a_hanging_node_holds_up_no_other_task(tmp_path: Path, other: ScriptedNode) -> None:
    hold = Hold(RUNNING)
    async with (
        ScriptedNode({"report": hold}) as hanging,
        engine(tmp_path, hanging.node, GONE, other.node, policies=QUICK) as parts,
    ):
        await on(parts, hanging.node)
        await parts.keep(a_task(an_id(2), TaskState.ON_NODE, node=GONE.id))
        parts.tracker.follow(ID)
        await hold.came.wait()
        parts.tracker.follow(an_id(2))
        await until(lambda: parts.requeued == [an_id(2)])
        hold.open.set()
