"""Copies nobody wants are dropped, however long that takes; the copy that counts never is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clusterodm_py.core.types import IN_FLIGHT, TaskState
from clusterodm_py.engine import strays as subject
from clusterodm_py.store.tables import DropStray
from harness.engine import ID, a_task, an_id, closed_port_node, engine, until
from harness.scripted_node import BAD_TOKEN, UNKNOWN, Hold, ScriptedNode, Status

ON_A_NODE = [*sorted(IN_FLIGHT), TaskState.ON_NODE, TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELED]


async def test_a_copy_is_dropped_and_forgotten(tmp_path: Path) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.strays.add(ID, (other.node.id,))
        await parts.sweep()
        assert other.count("remove") == 1
        assert await parts.store.strays.all() == ()


@pytest.mark.parametrize("state", ON_A_NODE)
async def test_the_copy_that_counts_is_left_alone_even_when_it_ended(
    tmp_path: Path, state: TaskState
) -> None:
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        await parts.store.tasks.create(a_task(state=state, node=other.node.id))
        await parts.strays.add(ID, (other.node.id,))
        await parts.sweep()
        assert other.count("remove") + other.count("init") == 0
        await parts.store.tasks.remove(ID)  # as a removal does after it noted the stray
        await parts.sweep()
        assert other.count("remove") == 1


async def test_an_upload_that_was_never_committed_is_wiped(tmp_path: Path) -> None:
    async with ScriptedNode({"remove": UNKNOWN}) as other, engine(tmp_path, other.node) as parts:
        await parts.strays.add(ID, (other.node.id,))
        await parts.sweep()
        assert other.count("init") == 1
        assert await parts.store.strays.all() == ()


@pytest.mark.parametrize("refusal", [BAD_TOKEN, Status(502)])
async def test_a_node_that_does_not_listen_was_not_told(tmp_path: Path, refusal: object) -> None:
    replies = {"remove": refusal, "info": refusal, "init": refusal}
    async with ScriptedNode(replies) as other, engine(tmp_path, other.node) as parts:
        await parts.strays.add(ID, (other.node.id,))
        await parts.sweep()
        assert len(await parts.store.strays.all()) == 1
        other.replies.clear()
        await parts.sweep()
        assert await parts.store.strays.all() == ()


async def test_a_node_that_is_away_is_asked_once_per_sweep_and_holds_up_nobody(tmp_path: Path) -> None:
    hold = Hold()
    async with (
        ScriptedNode({"remove": hold}) as hanging,
        ScriptedNode() as other,
        engine(tmp_path, hanging.node, closed_port_node(), other.node) as parts,
    ):
        for number in range(5):
            nodes = (hanging.node.id, closed_port_node().id, other.node.id)
            await parts.strays.add(an_id(number), nodes)
        sweep = parts.background.start("sweep", parts.strays._sweep())
        await until(lambda: other.count("remove") == 5)
        assert hanging.count("remove") == 1
        sweep.cancel()
        await asyncio.wait([sweep])
        assert len(await parts.store.strays.all()) == 10


async def test_a_copy_on_a_node_that_was_removed_is_forgotten(tmp_path: Path) -> None:
    async with engine(tmp_path) as parts:
        await parts.strays.add(ID, (closed_port_node().id,))
        await parts.sweep()
        assert await parts.store.strays.all() == ()


async def test_whoever_pushes_to_a_node_waits_while_it_is_told_to_drop_the_task(tmp_path: Path) -> None:
    hold = Hold({"success": True})
    async with ScriptedNode({"remove": hold}) as other, engine(tmp_path, other.node) as parts:
        await parts.strays.add(ID, (other.node.id,))
        parts.background.start("sweep", parts.strays._sweep())
        await hold.came.wait()
        await parts.strays.quiet(ID, closed_port_node().id)
        waits = parts.background.start("push", parts.strays.quiet(ID, other.node.id))
        await asyncio.sleep(0)
        assert not waits.done()
        hold.open.set()
        await asyncio.wait_for(waits, 5)


async def test_one_that_cannot_be_crossed_off_does_not_stop_the_sweeping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SWEEP_SECONDS", 0.01)
    async with ScriptedNode() as other, engine(tmp_path, other.node) as parts:
        parts.store.broken = lambda change: isinstance(change, DropStray)
        parts.background.start("strays", parts.strays.run())
        await parts.strays.add(ID, (other.node.id,))
        await until(lambda: not parts.store.tables.strays)
        assert parts.store.failed == 1
        await parts.strays.add(an_id(2), (other.node.id,))
        await until(lambda: not parts.store.tables.strays)
