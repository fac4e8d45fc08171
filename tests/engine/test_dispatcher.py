"""Every committed task reaches a node once, whatever nodes, the disk and operators do meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.types import IN_FLIGHT, TaskState
from clusterodm_py.engine.conclusion import ConclusionPolicy
from clusterodm_py.engine.dispatcher import DispatchPolicy
from clusterodm_py.engine.health import WatchPolicy
from clusterodm_py.engine.scheduler import SchedulerPolicy
from clusterodm_py.store.tables import Change, PutTask
from harness.engine import ID, Parts, Policies, a_task, an_id, closed_port_node, engine, until
from harness.scripted_node import INFO, RUNNING, UNKNOWN, Drop, Hold, ScriptedNode, Status

SELDOM = WatchPolicy(interval=60.0)


async def stored(parts: Parts, state: TaskState) -> None:
    await until(lambda: parts.state() is state)


async def test_a_task_reaches_a_node_and_its_slot_is_free_again(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(), ["a.jpg", "b.jpg"])
        parts.dispatcher.submit(ID)
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        assert (other.count("init"), other.count("upload"), other.count("commit")) == (1, 2, 1)
        assert parts.record().reasons
        assert not parts.store.tables.in_flight()
        await until(lambda: other.count("report") >= 1)


async def test_a_task_submitted_again_as_its_worker_ends_is_carried_once(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.FAILED))
        parts.dispatcher.submit(ID)
        worker = parts.dispatcher._workers[ID]

        def again(_: object) -> None:  # after the worker ended, before anybody cleaned up
            parts.store.tables.apply(PutTask(replace(parts.record(), state=TaskState.QUEUED)))
            parts.dispatcher.submit(ID)
            parts.dispatcher.submit(ID)

        worker.add_done_callback(again)
        await stored(parts, TaskState.ON_NODE)
        assert other.count("commit") == 1


async def test_a_task_waits_until_a_node_comes_and_says_so(tmp_path: Path) -> None:
    async with (
        ScriptedNode() as other,
        engine(tmp_path) as parts,
    ):
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: len(parts.record().lines) == 1)
        await parts.store.nodes.add(other.node)
        await parts.watch.sync()
        await stored(parts, TaskState.ON_NODE)
        assert parts.record().attempts == 1


async def test_a_locked_node_gets_the_waiting_task_when_it_is_unlocked(tmp_path: Path) -> None:
    async with (
        ScriptedNode() as other,
        engine(tmp_path, replace(other.node, locked=True)) as parts,
    ):
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: len(parts.record().lines) == 1)
        assert parts.state() is TaskState.QUEUED
        await parts.store.nodes.replace(other.node)
        await parts.watch.sync()
        await stored(parts, TaskState.ON_NODE)


async def test_attempts_that_are_refused_come_to_an_end_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with ScriptedNode({"upload": Status(500)}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.FAILED)
        record = parts.record()
        assert (record.attempts, record.node) == (3, None)
        assert record.error is not None
        assert "after 3 attempts" in record.error
        assert record.lines[-1] == record.error
        assert set(parts.store.tables.strays) == {(ID, other.node.id)}
        assert not parts.store.tables.in_flight()


async def test_a_node_that_cannot_be_reached_never_fails_a_task(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"init": [Drop()] * 8 + [None]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        assert parts.record().attempts == 1


async def test_another_node_takes_over_and_the_first_is_told_to_drop_its_part(tmp_path: Path) -> None:
    big = {**INFO, "maxParallelTasks": 9}
    async with (
        ScriptedNode({"upload": Drop(), "info": big}) as broken,
        ScriptedNode() as other,
        engine(tmp_path, broken.node, other.node) as parts,
    ):
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        assert parts.record().node == other.node.id
        await until(lambda: set(parts.store.tables.strays) == {(ID, broken.node.id)})


@pytest.mark.parametrize("state", [TaskState.COMMITTING, TaskState.ON_NODE])
async def test_a_full_disk_at_any_step_delays_a_task_and_runs_it_once(
    tmp_path: Path, state: TaskState
) -> None:
    def broken(change: Change) -> bool:
        return isinstance(change, PutTask) and change.task.state is state

    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        parts.store.broken, parts.store.failures = broken, 3
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        assert parts.store.failed == 3
        assert other.count("commit") == 1
        assert not parts.store.tables.in_flight()


@pytest.mark.parametrize("known", [True, False])
async def test_a_commit_under_way_when_we_died_is_asked_about_first(tmp_path: Path, known: bool) -> None:
    replies = {"report": RUNNING} if known else {"report": [UNKNOWN] * 3 + [RUNNING]}
    async with ScriptedNode(dict(replies)) as other, engine(tmp_path, other.node) as parts:
        record = a_task(state=TaskState.COMMITTING, node=other.node.id, touched=(other.node.id,), attempts=1)
        await parts.keep(record)
        await parts.dispatcher.start()
        await stored(parts, TaskState.ON_NODE)
        assert other.count("commit") == (0 if known else 1)
        assert other.count("upload") == 0


async def test_a_push_under_way_when_we_died_begins_anew_from_a_clean_upload(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.PUSHING, node=other.node.id, touched=(other.node.id,)))
        await parts.dispatcher.start()
        await stored(parts, TaskState.ON_NODE)
        assert other.count("init") == 2  # the first one wipes


async def test_a_commit_whose_node_is_gone_goes_elsewhere_and_is_a_stray_there(tmp_path: Path) -> None:
    gone = closed_port_node()
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.COMMITTING, node=gone.id, touched=(gone.id,)))
        await parts.dispatcher.start()
        await stored(parts, TaskState.ON_NODE)
        assert parts.record().node == other.node.id
        assert (ID, gone.id) in parts.store.tables.strays


async def test_a_node_that_denied_after_a_doubtful_commit_is_told_to_drop_what_it_may_have(
    tmp_path: Path,
) -> None:
    replies = {"commit": Status(500), "report": UNKNOWN, "info": {**INFO, "maxParallelTasks": 9}}
    async with (
        ScriptedNode(replies) as doubtful,
        ScriptedNode() as other,
        engine(tmp_path, doubtful.node, other.node) as parts,
    ):
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        assert (ID, doubtful.node.id) in parts.store.tables.strays


async def test_a_copy_found_on_the_node_it_was_given_up_on_is_taken_and_no_stray_any_more(
    tmp_path: Path,
) -> None:
    replies = {"init": {"error": "Invalid set-uuid"}, "report": RUNNING}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(touched=(other.node.id,)))
        await parts.store.strays.add(ID, other.node.id)
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.ON_NODE)
        await until(lambda: not parts.store.tables.strays)
        await parts.sweep()
        assert other.count("remove") == 0


async def test_nothing_is_pushed_while_the_node_is_told_to_drop_the_task(tmp_path: Path) -> None:
    hold = Hold({"success": True})
    async with ScriptedNode({"remove": hold}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(touched=(other.node.id,)))
        await parts.strays.add(ID, (other.node.id,))
        parts.background.start("sweep", parts.strays._sweep())
        await hold.came.wait()
        parts.dispatcher.submit(ID)
        await stored(parts, TaskState.PUSHING)
        await asyncio.sleep(0)
        assert other.count("init") == 0
        hold.open.set()
        await stored(parts, TaskState.ON_NODE)


@pytest.mark.parametrize("step", ["init", "upload", "commit"])
async def test_a_halted_task_is_let_go_of_at_any_step(tmp_path: Path, step: str) -> None:
    hold = Hold()
    async with ScriptedNode({step: hold}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await hold.came.wait()
        await parts.dispatcher.halt(ID)
        assert parts.state() in IN_FLIGHT
        assert not parts.dispatcher._workers
        hold.open.set()


async def test_two_tasks_never_take_the_same_last_slot(tmp_path: Path) -> None:
    hold = Hold()
    one = {**INFO, "maxParallelTasks": 1}
    async with (
        ScriptedNode({"info": one, "init": hold}) as first,
        ScriptedNode({"info": one, "init": hold}) as second,
        engine(tmp_path, first.node, second.node) as parts,
    ):
        for number in range(2):
            await parts.keep(a_task(an_id(number)))
            parts.dispatcher.submit(an_id(number))
        await until(lambda: (first.count("init"), second.count("init")) == (1, 1))
        hold.open.set()


async def test_a_slot_stays_held_until_the_nodes_own_count_shows_the_task(tmp_path: Path) -> None:
    one = {**INFO, "maxParallelTasks": 1}
    old, new = Hold({**one, "taskQueueCount": 0}), Hold({**one, "taskQueueCount": 1})
    policies = Policies(watch=SELDOM, conclusion=ConclusionPolicy(patience=5.0))
    async with (
        ScriptedNode({"info": [one, one, old, new]}) as other,
        engine(tmp_path, other.node, policies=policies) as parts,
    ):
        await until(lambda: other.count("info") == 2)

        async def poll_meanwhile() -> None:  # asked before the commit, answered after it
            parts.background.start("poll", parts.watch.freshen([other.node.id], max_age=0.0, patience=5.0))
            await old.came.wait()

        other.on["upload"] = poll_meanwhile
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: other.count("commit") == 1)
        old.open.set()
        await asyncio.wait_for(new.came.wait(), 5)
        assert parts.store.tables.in_flight() == {other.node.id: 1}
        new.open.set()
        await stored(parts, TaskState.ON_NODE)
        assert (await parts.watch.views())[0].free == 0


async def test_a_burst_on_a_full_node_is_sent_a_few_tasks_at_a_time(tmp_path: Path) -> None:
    hold = Hold()
    full = {**INFO, "maxParallelTasks": 1, "taskQueueCount": 5}
    eager = Policies(schedule=SchedulerPolicy(late=False, patience=0.2))
    async with ScriptedNode({"info": full}) as other, engine(tmp_path, other.node, policies=eager) as parts:
        most = now = 0

        async def begin() -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)

        async def end() -> None:
            nonlocal now
            now -= 1

        other.on = {"init": begin, "commit": end}
        tasks = [an_id(number) for number in range(20)]
        for task in tasks:
            await parts.keep(a_task(task))
            parts.dispatcher.submit(task)
        await until(lambda: all(parts.state(task) is TaskState.ON_NODE for task in tasks))
        assert 1 < most <= Policies().dispatch.at_once
        hold.open.set()


async def test_tasks_in_line_for_a_node_that_is_locked_meanwhile_go_elsewhere(tmp_path: Path) -> None:
    hold = Hold()
    policies = Policies(
        dispatch=DispatchPolicy(at_once=1, pause=0.01), watch=SELDOM, schedule=SchedulerPolicy(late=False)
    )
    async with (
        ScriptedNode({"init": hold}) as first,
        ScriptedNode() as second,
        engine(tmp_path, first.node, policies=policies) as parts,
    ):
        for number in range(2):
            await parts.keep(a_task(an_id(number)))
            parts.dispatcher.submit(an_id(number))
        await hold.came.wait()
        await until(lambda: parts.state(an_id(1)) is TaskState.PUSHING)
        await parts.store.nodes.replace(replace(first.node, locked=True))
        await parts.store.nodes.add(second.node)
        await parts.watch.sync()
        hold.open.set()
        await until(lambda: parts.state(an_id(1)) is TaskState.ON_NODE)
        assert parts.record(an_id(1)).node == second.node.id
        assert parts.record(an_id(0)).node == first.node.id


async def test_output_of_ours_stays_below_three_lines(tmp_path: Path) -> None:
    policies = Policies(dispatch=DispatchPolicy(quiet=0.0, pause=0.0))
    hold = Hold()
    async with ScriptedNode({"init": hold}) as other, engine(tmp_path, policies=policies) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: len(parts.record().lines) == 1)
        await parts.store.nodes.add(other.node)
        await parts.watch.sync()
        await until(lambda: len(parts.record().lines) == 2)
        hold.open.set()
        await stored(parts, TaskState.ON_NODE)
        assert len(parts.record().lines) == 2


async def test_thousands_of_waiting_tasks_leave_the_loop_responsive(tmp_path: Path) -> None:
    async with engine(tmp_path, closed_port_node()) as parts:
        tasks = [an_id(number) for number in range(2000)]
        for task in tasks:
            await parts.store.tasks.create(a_task(task))
        await parts.dispatcher.start()
        await until(lambda: all(parts.record(task).lines for task in tasks), 20)
        loop = asyncio.get_running_loop()
        await parts.watch.sync()  # all wake
        longest = 0.0
        for _ in range(200):
            began = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - began)
        assert longest < 0.5
