"""Cancel, remove and restart, wherever the task is and whatever happens at that moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.errors import StoreTrouble, Unreachable
from clusterodm_py.core.types import ENDED, TaskState
from clusterodm_py.store.tables import PutTask
from harness.engine import ID, NOW, a_task, closed_port_node, engine, until
from harness.scripted_node import COMPLETED, RUNNING, UNKNOWN, Hold, ScriptedNode, Status

CANCELED = {"status": {"code": 50}, "processingTime": 5}
OK = {"success": True}


@pytest.mark.parametrize("verb", ["cancel", "remove"])
@pytest.mark.parametrize("step", ["init", "upload", "commit"])
async def test_withdrawn_at_any_step_of_a_push_the_slot_is_free_and_the_node_is_told(
    tmp_path: Path, verb: str, step: str
) -> None:
    hold = Hold()
    async with ScriptedNode({step: hold}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await hold.came.wait()
        assert await getattr(parts.control, verb)(parts.record()) == OK
        hold.open.set()
        assert parts.state() is (TaskState.CANCELED if verb == "cancel" else None)
        assert not parts.store.tables.in_flight()
        assert await parts.spool.files(ID) == ()
        await parts.sweep()
        assert other.count("remove") == 1
        assert not parts.store.tables.strays


async def test_a_waiting_task_is_cancelled_for_good(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: bool(parts.record().lines))
        assert await parts.control.cancel(parts.record()) == OK
        assert await parts.control.cancel(parts.record()) == OK
        await parts.store.nodes.add(other.node)
        await parts.watch.sync()
        await parts.dispatcher.start()
        assert (parts.state(), other.count("init")) == (TaskState.CANCELED, 0)


async def test_a_withdrawal_that_could_not_be_written_leaves_the_task_in_good_hands(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path) as parts:
        await parts.keep(a_task())
        parts.dispatcher.submit(ID)
        await until(lambda: bool(parts.record().lines))
        parts.store.broken = lambda change: isinstance(change, PutTask)
        with pytest.raises(StoreTrouble):
            await parts.control.cancel(parts.record())
        await parts.store.nodes.add(other.node)
        await parts.watch.sync()
        await until(lambda: parts.state() is TaskState.ON_NODE)


async def test_a_cancelled_run_is_kept_told_and_off_the_disk(tmp_path: Path) -> None:
    async with ScriptedNode({"report": CANCELED}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id))
        assert await parts.control.cancel(parts.record()) == OK
        assert (parts.state(), parts.record().ended) == (TaskState.CANCELED, NOW)
        await until(lambda: parts.record().report is not None and not parts.spool._boxes)


async def test_a_finished_task_can_be_cancelled_as_nodeodm_grants(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.FINISHED, node=other.node.id, ended=NOW - 5))
        assert await parts.control.cancel(parts.record()) == OK
        assert (parts.state(), parts.record().ended) == (TaskState.CANCELED, NOW - 5)


async def test_a_running_task_whose_node_is_away_cannot_be_cancelled_now(tmp_path: Path) -> None:
    node = closed_port_node()
    async with engine(tmp_path, node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=node.id))
        with pytest.raises(Unreachable):
            await parts.control.cancel(parts.record())
        assert parts.state() is TaskState.ON_NODE


async def test_a_gateways_answer_is_no_cancel(tmp_path: Path) -> None:
    async with ScriptedNode({"cancel": Status(502)}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id))
        with pytest.raises(Unreachable):
            await parts.control.cancel(parts.record())
        assert parts.state() is TaskState.ON_NODE


async def test_a_removed_task_of_a_node_that_is_away_is_dropped_there_later(tmp_path: Path) -> None:
    async with (
        ScriptedNode({"remove": [Status(502), OK]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id))
        assert await parts.control.remove(parts.record()) == OK
        assert parts.state() is None
        await parts.sweep()
        assert not parts.store.tables.strays
        assert other.count("remove") == 2


async def test_an_ended_task_is_removed_even_if_its_node_lost_it(tmp_path: Path) -> None:
    async with ScriptedNode({"remove": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.FINISHED, node=other.node.id))
        assert await parts.control.remove(parts.record()) == OK
        assert parts.state() is None


async def test_a_running_task_its_node_will_not_remove_stays_and_is_followed(tmp_path: Path) -> None:
    async with ScriptedNode({"remove": {"error": "busy"}}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.ON_NODE, node=other.node.id))
        assert await parts.control.remove(parts.record()) == {"error": "busy"}
        await until(lambda: other.count("report") > 0)
        assert parts.state() is TaskState.ON_NODE


async def test_an_upload_is_cancelled_by_removing_it(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=TaskState.SPOOLING, committed=None))
        assert await parts.control.cancel(parts.record()) == OK
        assert parts.state() is None
        assert await parts.spool.files(ID) == ()


@pytest.mark.parametrize("state", sorted(ENDED))
async def test_a_restart_runs_again_on_its_node_and_is_followed(tmp_path: Path, state: TaskState) -> None:
    async with (
        ScriptedNode({"report": [RUNNING, COMPLETED]}) as other,
        engine(tmp_path, other.node) as parts,
    ):
        await parts.keep(a_task(state=state, node=other.node.id, ended=NOW))
        assert await parts.control.restart(parts.record(), "[]") == OK
        await until(lambda: other.count("report") >= 1)
        await until(lambda: parts.state() is TaskState.FINISHED)


async def test_a_task_no_node_took_is_restarted_from_the_spool_and_its_output_goes_on(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        lines = ("waiting", "sending", "failed")
        task = a_task(state=TaskState.FAILED, attempts=3, lines=lines, error="failed", ended=NOW)
        await parts.keep(task)
        assert await parts.control.restart(parts.record(), None) == OK
        await until(lambda: parts.state() is TaskState.ON_NODE)
        record = parts.record()
        assert (record.error, record.ended, record.attempts, record.lines) == (None, None, 1, lines)


async def test_other_options_for_a_task_no_node_took_are_not_silently_ignored(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task(state=TaskState.FAILED))
        answer = await parts.control.restart(parts.record(), '[{"name":"dsm","value":true}]')
        assert isinstance(answer, dict)
        assert "options" in str(answer["error"])
        assert parts.state() is TaskState.FAILED


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.CANCELED, TaskState.FAILED])
async def test_without_its_images_nothing_is_restarted(tmp_path: Path, state: TaskState) -> None:
    async with engine(tmp_path) as parts:
        await parts.keep(a_task(state=state), [])
        answer = await parts.control.restart(parts.record(), None)
        assert isinstance(answer, dict)
        assert "error" in answer
        assert parts.state() is state


async def test_a_cancel_that_comes_as_the_node_took_the_task_leaves_it_followed(tmp_path: Path) -> None:
    async with ScriptedNode({"cancel": {"error": "not now"}}) as other, engine(tmp_path, other.node) as parts:
        await parts.keep(a_task())
        stale = parts.record()
        # The worker was halted right after its last change was on its way: on the node, and followed by nobody.
        parts.store.tables.apply(PutTask(replace(stale, state=TaskState.ON_NODE, node=other.node.id)))
        assert await parts.control.cancel(stale) == {"error": "not now"}
        await until(lambda: other.count("report") > 0)
        await asyncio.sleep(0)
        assert parts.state() is TaskState.ON_NODE
