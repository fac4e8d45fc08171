"""What clients see of an output only ever grows, whichever node it comes from and whoever is late."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clusterodm_py.core.types import NodeId, Task, TaskState
from clusterodm_py.engine.transcript import Transcript, own
from clusterodm_py.logbook import Logbook
from clusterodm_py.store.memory import MemoryStore
from clusterodm_py.store.tables import PutTask
from harness.engine import ID, a_task

NODE = NodeId("a:1")
RUNNING = a_task(state=TaskState.ON_NODE, node=NODE, lines=("ours",))


class Bench:
    """A transcript over one task's record."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.folder = folder
        self.transcript = Transcript(self.store, Logbook(folder / "logs"))

    @property
    def task(self) -> Task:
        return self.store.tables.tasks[ID]

    def put(self, task: Task) -> None:
        self.store.tables.apply(PutTask(task))

    async def moved(self, line: str = "moved") -> Task:
        """The task leaves its node and is on another one."""
        queued = replace(self.task, state=TaskState.QUEUED, node=None)
        record = await self.transcript.sealed(queued, line)
        assert record is not None
        self.put(replace(record, state=TaskState.ON_NODE, node=NodeId("b:1"), version=record.version + 1))
        return self.task

    async def read(self, text: str = "0") -> list[str]:
        return await self.transcript.read(self.task, text)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.put(RUNNING)
    return bench


async def test_our_lines_stand_before_the_nodes(bench: Bench) -> None:
    assert await bench.read() == ["ours"]
    assert await bench.transcript.take(RUNNING, 0, ["one", "two"])
    assert await bench.read() == ["ours", "one", "two"]
    assert await bench.read("-2") == ["one", "two"]
    assert await bench.read("2") == ["two"]
    assert await bench.transcript.known(RUNNING) == 2


async def test_lines_behind_a_gap_are_left_to_whoever_asks_for_all(bench: Bench) -> None:
    assert await bench.transcript.take(RUNNING, 5, ["six"])
    assert await bench.read() == ["ours"]


async def test_a_move_goes_on_where_everybody_saw_the_output_end(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one", "two"])
    task = await bench.moved()
    assert (task.kept, task.lines, own(task)) == (3, ("moved",), 4)
    assert await bench.read() == ["ours", "one", "two", "moved"]
    await bench.transcript.take(task, 0, ["first"])
    assert await bench.read() == ["ours", "one", "two", "moved", "first"]
    assert await bench.read("-3") == ["two", "moved", "first"]


async def test_a_task_that_leaves_before_its_node_said_anything_keeps_our_lines(bench: Bench) -> None:
    task = await bench.moved()
    assert await bench.read() == ["ours", "moved"]
    assert own(task) == 2


async def test_a_late_answer_of_the_former_node_is_nobodys(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one"])
    await bench.moved()
    assert not await bench.transcript.take(RUNNING, 1, ["late"])
    assert not await bench.transcript.present(RUNNING)
    assert await bench.read() == ["ours", "one", "moved"]


async def test_every_line_that_was_taken_is_kept_by_a_move_at_the_same_time(bench: Bench) -> None:
    async def feed() -> int:
        """How many lines of the former node clients were shown."""
        for number in range(200):
            if not await bench.transcript.take(RUNNING, number, [f"line {number}"]):
                return number
        raise AssertionError("the task never moved")

    async def move() -> None:
        while await bench.transcript.known(RUNNING) < 20:
            await asyncio.sleep(0)
        await bench.moved()

    shown, _ = await asyncio.gather(feed(), move())
    assert await bench.read() == ["ours", *(f"line {number}" for number in range(shown)), "moved"]


async def test_a_record_changed_meanwhile_is_not_moved(bench: Bench) -> None:
    stale = replace(bench.task, version=7)
    assert await bench.transcript.sealed(replace(stale, state=TaskState.QUEUED, node=None), "moved") is None
    assert bench.task == RUNNING


async def test_output_of_a_task_that_is_gone_is_not_kept(bench: Bench) -> None:
    await bench.store.tasks.remove(ID)
    assert not await bench.transcript.take(RUNNING, 0, ["one"])
    await bench.transcript.discard(ID)
    assert list(bench.folder.rglob("*.log")) == []


async def test_kept_lines_are_there_after_a_restart(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one"])
    await bench.moved()
    bench.transcript = Transcript(bench.store, Logbook(bench.folder / "logs"))
    assert await bench.read() == ["ours", "one", "moved"]


async def test_numbers_hold_even_if_the_logbook_was_lost(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one"])
    task = await bench.moved()
    await bench.transcript.sweep(set())
    assert await bench.read() == ["", "", "moved"]
    await bench.transcript.take(task, 0, ["first"])
    assert await bench.read() == ["", "", "moved", "first"]


async def test_a_disk_that_takes_no_more_costs_no_answer_and_no_move(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one"])
    log = next(bench.folder.rglob("*.log"))
    log.unlink()
    log.mkdir()
    assert await bench.transcript.take(RUNNING, 1, ["two"])
    task = await bench.moved()
    assert (task.kept, task.lines) == (2, ("moved",))


async def test_a_task_in_the_queue_tells_what_earlier_nodes_said(bench: Bench) -> None:
    await bench.transcript.take(RUNNING, 0, ["one"])
    moved = await bench.moved()
    bench.put(replace(moved, state=TaskState.PUSHING))
    assert await bench.read() == ["ours", "one", "moved"]
    assert await bench.transcript.length(bench.task) == 3


@pytest.mark.parametrize(
    ("lines", "goes_on"), [(["two"], True), (["two", "x"], True), (["x"], False), ([], False)]
)
async def test_output_goes_on_where_its_last_line_is_the_same(
    bench: Bench, lines: list[str], goes_on: bool
) -> None:
    await bench.transcript.take(RUNNING, 0, ["one", "two"])
    assert await bench.transcript.continues(RUNNING, 1, lines) is goes_on
