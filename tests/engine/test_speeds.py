"""What is learned of nodes' speeds outlives the program, and forgets nodes that are gone."""

from __future__ import annotations

import asyncio

from clusterodm_py.core.types import Address, Node, NodeId, Task, TaskReport, TaskState, TaskStatus
from clusterodm_py.engine.background import Background
from clusterodm_py.engine.speeds import Speeds
from clusterodm_py.store.memory import MemoryStore
from harness.engine import a_task, an_id

NODE = Node(address=Address("n", 1))


def finished(number: int, seconds: float, images: int = 100) -> Task:
    report = TaskReport(raw="{}", status=TaskStatus.COMPLETED, processing_time=round(seconds * 1000))
    return a_task(an_id(number), TaskState.FINISHED, images=images, report=report)


async def taught(store: MemoryStore, node: NodeId, tasks: int = 3) -> float | None:
    async with Background() as background:
        speeds = Speeds(store, background)
        await speeds.start()
        for number in range(tasks):
            speeds.finished(finished(number, 200.0), node)
        while background._running:
            await asyncio.sleep(0)
        return speeds.pace(node)


async def test_a_pace_is_known_after_some_tasks_and_over_a_restart() -> None:
    store = MemoryStore()
    await store.nodes.add(NODE)
    assert await taught(store, NODE.id, tasks=2) is None
    pace = await taught(store, NODE.id, tasks=1)
    assert pace is not None
    assert abs(pace - 2.0) < 0.01


async def test_a_node_that_was_removed_is_forgotten() -> None:
    store = MemoryStore()
    await taught(store, NODE.id)
    await store.nodes.add(NODE)
    assert await taught(store, NODE.id, tasks=0) is None


async def test_a_task_that_tells_no_time_teaches_nothing() -> None:
    store = MemoryStore()
    async with Background() as background:
        speeds = Speeds(store, background)
        for number in range(9):
            speeds.finished(a_task(an_id(number), TaskState.FINISHED), NODE.id)
        assert speeds.pace(NODE.id) is None
