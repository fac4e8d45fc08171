"""One task, one node: pushed, committed, and known for certain to be there or not (contract §12 D-06)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.types import Node, Task, TaskState, Token
from clusterodm_py.engine.handover import HandoverPolicy, NotTaken, Taken, Unsure
from harness.engine import Parts, Policies, a_task, closed_port_node, engine
from harness.scripted_node import BAD_TOKEN, RUNNING, UNKNOWN, Drop, Hold, ScriptedNode, Status


async def pushing(parts: Parts, node: Node) -> Task:
    task = await parts.store.tasks.reserve(await parts.keep(a_task()), node.id, slots=None)
    assert task is not None
    return task


async def committing(parts: Parts, node: Node) -> Task:
    return await parts.store.tasks.save(replace(await pushing(parts, node), state=TaskState.COMMITTING))


async def test_the_commit_is_sent_only_after_that_was_written(tmp_path: Path) -> None:
    states: list[TaskState | None] = []
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:

        async def look() -> None:
            states.append(parts.state())

        other.on = {"upload": look, "commit": look}
        assert await parts.handover.push(await pushing(parts, other.node), other.node, dirty=False) == Taken()
        assert states == [TaskState.PUSHING, TaskState.COMMITTING]


async def test_a_node_that_may_hold_a_part_is_wiped_first(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        task = await pushing(parts, other.node)
        assert await parts.handover.push(task, other.node, dirty=True) == Taken()
        assert other.count("init") == 2


@pytest.mark.parametrize("dirty", [True, False])
async def test_a_task_of_the_same_id_is_ours_only_where_an_earlier_push_went(
    tmp_path: Path, dirty: bool
) -> None:
    replies = {"init": {"error": "Invalid set-uuid"}, "report": RUNNING}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        outcome = await parts.handover.push(await pushing(parts, other.node), other.node, dirty=dirty)
        assert isinstance(outcome, Taken if dirty else NotTaken)


async def test_a_node_that_could_not_be_reached_had_no_chance_to_refuse(tmp_path: Path) -> None:
    node = closed_port_node()
    async with engine(tmp_path, node) as parts:
        outcome = await parts.handover.push(await pushing(parts, node), node, dirty=True)
        assert isinstance(outcome, NotTaken)
        assert not outcome.counts


@pytest.mark.parametrize(
    "replies", [{"init": UNKNOWN}, {"init": Status(500)}, {"upload": Drop()}, {"upload": UNKNOWN}]
)
async def test_a_refusal_and_a_break_in_the_middle_are_attempts(
    tmp_path: Path, replies: dict[str, object]
) -> None:
    async with ScriptedNode(dict(replies)) as other, engine(tmp_path, other.node) as parts:
        outcome = await parts.handover.push(await pushing(parts, other.node), other.node, dirty=False)
        assert isinstance(outcome, NotTaken)
        assert outcome.counts


async def test_a_node_removed_while_files_were_sent_gets_no_commit(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:

        async def remove() -> None:
            await parts.store.nodes.remove(other.node.id)

        other.on["upload"] = remove
        outcome = await parts.handover.push(await pushing(parts, other.node), other.node, dirty=False)
        assert isinstance(outcome, NotTaken)
        assert other.count("commit") == 0


async def test_a_task_withdrawn_while_files_were_sent_gets_no_commit(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        task = await pushing(parts, other.node)

        async def withdraw() -> None:
            await parts.store.tasks.save(replace(parts.record(), state=TaskState.CANCELED, node=None))

        other.on["upload"] = withdraw
        assert isinstance(await parts.handover.push(task, other.node, dirty=False), NotTaken)
        assert other.count("commit") == 0
        assert parts.state() is TaskState.CANCELED


@pytest.mark.parametrize("lost", [Drop(), Status(502), Status(504), {}])
async def test_a_lost_answer_is_not_guessed_about(tmp_path: Path, lost: object) -> None:
    async with ScriptedNode({"commit": lost}) as other, engine(tmp_path, other.node) as parts:
        task = await committing(parts, other.node)
        assert await parts.handover.settle(task, other.node, asked=False) == Taken()
        assert other.count("commit") == 1


async def test_a_commit_that_did_not_arrive_is_sent_again(tmp_path: Path) -> None:
    replies = {"commit": [Drop(), None], "report": UNKNOWN}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        task = await committing(parts, other.node)
        assert await parts.handover.settle(task, other.node, asked=False) == Taken()
        assert other.count("commit") == 2


async def test_a_refused_commit_whose_earlier_one_was_good_is_a_good_one(tmp_path: Path) -> None:
    replies = {"commit": [Drop(), UNKNOWN], "report": [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, RUNNING]}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        task = await committing(parts, other.node)
        assert await parts.handover.settle(task, other.node, asked=False) == Taken()


async def test_a_refused_commit_is_a_refusal(tmp_path: Path) -> None:
    replies = {"commit": {"error": "Need at least 1 file."}, "report": UNKNOWN}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        outcome = await parts.handover.settle(await committing(parts, other.node), other.node, asked=False)
        assert outcome == NotTaken("Need at least 1 file.")


async def test_a_refusal_by_a_node_that_knows_the_task_after_all_waits_for_its_word(tmp_path: Path) -> None:
    replies = {"commit": UNKNOWN, "report": [Status(502), Drop(), RUNNING]}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        task = await committing(parts, other.node)
        assert await parts.handover.settle(task, other.node, asked=False) == Taken()


async def test_a_node_that_never_answers_a_commit_and_denies_the_task_is_left(tmp_path: Path) -> None:
    replies = {"commit": Status(500), "report": UNKNOWN}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        outcome = await parts.handover.settle(await committing(parts, other.node), other.node, asked=True)
        assert isinstance(outcome, NotTaken)
        assert other.count("commit") == 3


async def test_silence_is_waited_out_and_then_left_unsure(tmp_path: Path) -> None:
    node = closed_port_node()
    policies = Policies(handover=HandoverPolicy(ask_again=0.01, ask_slowest=0.01, give_up=900.0))
    async with engine(tmp_path, node, policies=policies) as parts:
        settled: list[object] = []
        task = await committing(parts, node)

        async def settle() -> None:
            settled.append(await parts.handover.settle(task, node, asked=True))

        work = parts.background.start("settle", settle())
        done, _ = await asyncio.wait([work], timeout=0.1)
        assert not done
        parts.clock.now += 901
        await asyncio.wait_for(work, 5)
        assert isinstance(settled[0], Unsure)


async def test_a_node_given_another_token_meanwhile_is_asked_with_that(tmp_path: Path) -> None:
    hold = Hold(BAD_TOKEN)
    async with (
        ScriptedNode({"report": BAD_TOKEN, "info": hold}) as other,
        engine(tmp_path, other.node, watching=False) as parts,
    ):
        task = await committing(parts, other.node)
        work = parts.background.start("settle", parts.handover.settle(task, other.node, asked=True))
        await hold.came.wait()
        await parts.store.nodes.replace(replace(other.node, token=Token("new")))
        other.replies = {"report": RUNNING}
        hold.open.set()
        await asyncio.wait_for(work, 5)
        assert "token=new" in other.paths[-1]


async def test_a_node_removed_meanwhile_leaves_it_unsure(tmp_path: Path) -> None:
    node = closed_port_node()
    async with engine(tmp_path, node) as parts:
        task = await committing(parts, node)
        await parts.store.nodes.remove(node.id)
        assert isinstance(await parts.handover.settle(task, node, asked=True), Unsure)
