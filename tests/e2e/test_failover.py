"""Nodes die for good, come back empty or with the old copy, fail a submodel: each task ends once, and whoever watches
it sees a task that goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from clusterodm_py.simulated import Behaviour
from harness.cluster import cluster, placed, until
from harness.proxy import ProxyProcess
from harness.scripted_node import RUNNING, UNKNOWN, Drop, ScriptedNode, Status
from harness.tasks import IMAGES, ended, info, status, submit

QUICK = ("--failover-after", "1", "--poll-interval", "0.3")
SLOW = Behaviour(seconds=60)
BRISK = Behaviour(seconds=1)
CHILD = {**IMAGES, "seed.zip": b"PK"}
MOVED = "went away"


@dataclass
class Watcher:
    """A client that polls as WebODM does: only what it has not seen yet, counted from what it has."""

    proxy: ProxyProcess
    task: str
    lines: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self) -> None:
        async with self.turn:
            await self._look()

    async def _look(self) -> None:
        try:
            told = await info(self.proxy, self.task, with_output=str(len(self.lines)))
            more = await self.proxy.get(
                f"/task/{self.task}/output?line={len(self.lines) + len(told['output'])}"
            )
        except aiohttp.ClientConnectionError:  # "try again later" to every client
            return
        assert "error" not in told
        self.lines += told["output"] + more
        self.codes.append(told["status"]["code"])

    async def watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.05)

    async def agrees(self) -> None:
        """What was read piece by piece is the whole."""
        await self.look()
        whole = await self.proxy.get(f"/task/{self.task}/output?line=0")
        assert self.lines == whole
        assert (await info(self.proxy, self.task, with_output="-3"))["output"] == whole[-3:]


@asynccontextmanager
async def watched(proxy: ProxyProcess, task: str) -> AsyncIterator[Watcher]:
    watcher = Watcher(proxy, task)
    watching = asyncio.create_task(watcher.watch())
    try:
        yield watcher
        assert not watching.done(), watching.exception()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def ends(proxy: ProxyProcess, task: str) -> int:
    """How often the task ended."""
    return sum(f"task={task}" in line and "ended: " in line for line in proxy.log.splitlines())


async def told(watcher: Watcher, count: int = 3) -> None:
    """The client saw so many lines."""
    await until(lambda: len(watcher.lines) >= count)


async def test_the_task_of_a_dead_node_is_finished_by_another_and_its_output_goes_on(tmp_path: Path) -> None:
    async with cluster(tmp_path, SLOW, SLOW, flags=QUICK) as (proxy, nodes):
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            first = await placed(nodes, task)
            await told(watcher)
            other = nodes[1 - first]
            other.change(seconds=1)
            await nodes[first].go_offline()
            assert await ended(proxy, task) == 40
            await watcher.agrees()
        assert set(watcher.codes) <= {10, 20, 40}
        assert sum(MOVED in line for line in watcher.lines) == 1
        assert sum("engine starts" in line for line in watcher.lines) == 2
        assert dict(other.tasks[task].files) == {name: len(content) for name, content in IMAGES.items()}
        assert other.tasks[task].starts == 1
        assert ends(proxy, task) == 1


async def test_a_node_that_comes_back_with_the_old_copy_drops_it(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=3), BRISK, flags=QUICK) as (proxy, nodes):
        nodes[1].change(seconds=3)
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            first = await placed(nodes, task)
            old, new = nodes[first], nodes[1 - first]
            await told(watcher)
            await old.go_offline()
            assert await ended(proxy, task) == 40
            assert old.tasks[task].status.value == 40  # it went on, and nobody may ever hear of it
            await old.go_online()
            await until(lambda: task not in old.tasks, seconds=40)
            await watcher.agrees()
        assert await status(proxy, task) == 40
        assert new.tasks[task].starts == 1
        assert ends(proxy, task) == 1
        archive = f"/task/{task}/download/all.zip"
        async with proxy.session.get(archive) as response:
            assert response.status == 200


async def test_a_node_that_was_restarted_empty_starts_its_task_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=60, forget_tasks=True), flags=QUICK) as (proxy, (node,)):
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            await told(watcher)
            await node.go_offline()
            await until(lambda: " is shaky" in proxy.log)
            shutil.rmtree(
                tmp_path / "n0" / "data" / task
            )  # NodeODM deletes what it does not know when it starts
            node.change(seconds=1, forget_tasks=True)
            await node.go_online()
            assert await ended(proxy, task) == 40
            await watcher.agrees()
        assert sum("lost this task" in line for line in watcher.lines) == 1
        assert set(watcher.codes) <= {10, 20, 40}
        assert node.tasks[task].starts == 1
        assert ends(proxy, task) == 1


async def test_without_another_node_a_task_waits_for_its_own(tmp_path: Path) -> None:
    async with cluster(tmp_path, Behaviour(seconds=4), flags=QUICK) as (proxy, (node,)):
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            await told(watcher)
            await node.go_offline()
            await until(lambda: " is down" in proxy.log)
            assert await status(proxy, task) == 20
            await node.go_online()
            assert await ended(proxy, task, seconds=40) == 40
            await watcher.agrees()
        assert not any(MOVED in line for line in watcher.lines)
        assert node.tasks[task].starts == 1


@pytest.mark.parametrize("moment", ["before", "at once", "after"])
async def test_a_move_survives_the_death_of_the_proxy(tmp_path: Path, moment: str) -> None:
    async with cluster(tmp_path, SLOW, SLOW, flags=QUICK) as (proxy, nodes):
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            first = await placed(nodes, task)
            await told(watcher)
            nodes[1 - first].change(seconds=1)
            await nodes[first].go_offline()
            if moment == "before":
                await until(lambda: " is down" in proxy.log)
            else:
                await until(lambda: "queued for another node" in proxy.log)
            if moment == "after":
                await placed([nodes[1 - first]], task)
            await proxy.restart()
            assert await ended(proxy, task) == 40
            await watcher.agrees()
        assert nodes[1 - first].tasks[task].starts == 1
        assert sum(MOVED in line for line in watcher.lines) == 1
        await nodes[first].go_online()
        await until(lambda: task not in nodes[first].tasks, seconds=40)
        assert await status(proxy, task) == 40


async def test_output_of_a_task_outlives_its_node_and_the_proxy(tmp_path: Path) -> None:
    async with cluster(tmp_path, BRISK, flags=QUICK) as (proxy, (node,)):
        task = await submit(proxy)
        assert await ended(proxy, task) == 40
        lines = await proxy.get(f"/task/{task}/output")
        assert lines[-1].endswith("Done")
        await node.go_offline()
        await proxy.restart()
        assert await proxy.get(f"/task/{task}/output") == lines
        assert (await info(proxy, task, with_output="-2"))["output"] == lines[-2:]


async def test_a_failed_submodel_is_done_by_another_node_and_nobody_hears_of_it(tmp_path: Path) -> None:
    flags = (*QUICK, "--retry-failed-children", "1")
    bad, good = Behaviour(seconds=1, fail_tasks=1, max_images=10), BRISK
    async with cluster(tmp_path, bad, good, flags=flags) as (proxy, nodes):
        task = await submit(proxy, files=CHILD)
        assert await placed(nodes, task) == 0
        async with watched(proxy, task) as watcher:
            assert await ended(proxy, task) == 40
            await watcher.agrees()
        assert 30 not in watcher.codes
        assert any("[ERROR]" in line for line in watcher.lines)
        assert sum("could not process this submodel" in line for line in watcher.lines) == 1
        await until(lambda: task not in nodes[0].tasks)
        assert nodes[1].tasks[task].starts == 1
        assert ends(proxy, task) == 1


@pytest.mark.parametrize(("files", "retries"), [(IMAGES, "1"), (CHILD, "0")])
async def test_any_other_failed_task_is_not_repeated(
    tmp_path: Path, files: dict[str, bytes], retries: str
) -> None:
    bad = Behaviour(seconds=0.5, fail_tasks=1, max_images=10)
    flags = (*QUICK, "--retry-failed-children", retries)
    async with cluster(tmp_path, bad, BRISK, flags=flags) as (proxy, nodes):
        task = await submit(proxy, files=files)
        assert await ended(proxy, task) == 30
        assert nodes[0].tasks[task].starts == 1
        assert task not in nodes[1].tasks


async def test_a_submodel_that_fails_everywhere_has_failed(tmp_path: Path) -> None:
    bad = Behaviour(seconds=0.5, fail_tasks=1)
    flags = (*QUICK, "--retry-failed-children", "5")
    async with cluster(tmp_path, bad, bad, flags=flags) as (proxy, nodes):
        task = await submit(proxy, files=CHILD)
        async with watched(proxy, task) as watcher:
            assert await ended(proxy, task) == 30
            await watcher.agrees()
        assert watcher.codes.index(30) == len(watcher.codes) - watcher.codes.count(30)
        assert sum(task in node.tasks for node in nodes) == 1


@pytest.mark.parametrize("trouble", [Status(502), Status(200), UNKNOWN, Drop()])
async def test_a_node_in_trouble_is_no_error_of_its_running_task(tmp_path: Path, trouble: object) -> None:
    async with (
        ScriptedNode({"report": {**RUNNING, "output": ["one", "two"]}, "output": ["one", "two"]}) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        task = await submit(proxy)
        await until(lambda: node.count("report") > 0)
        async with asyncio.timeout(10):
            while await proxy.get(f"/task/{task}/output") != ["one", "two"]:
                await asyncio.sleep(0.05)
        node.replies |= {"report": trouble, "output": trouble}
        assert await status(proxy, task) == 20
        assert (await info(proxy, task, with_output="1"))["output"] == ["two"]
        assert await proxy.get(f"/task/{task}/output?line=-1") == ["two"]


async def test_a_restart_goes_on_behind_what_was_there(tmp_path: Path) -> None:
    async with cluster(tmp_path, BRISK, flags=QUICK) as (proxy, (node,)):
        task = await submit(proxy)
        async with watched(proxy, task) as watcher:
            assert await ended(proxy, task) == 40
            before = len(await proxy.get(f"/task/{task}/output"))
            assert await proxy.post("/task/restart", data={"uuid": task}) == {"success": True}
            assert await ended(proxy, task) == 40
            await watcher.agrees()
        assert sum("from its beginning" in line for line in watcher.lines) == 1
        assert len(watcher.lines) >= 2 * before
        assert node.tasks[task].starts == 2


async def test_a_removed_task_leaves_no_output_behind(tmp_path: Path) -> None:
    async with cluster(tmp_path, BRISK, flags=QUICK) as (proxy, _):
        task = await submit(proxy)
        assert await ended(proxy, task) == 40
        assert list((proxy.data / "logs").glob("*"))
        assert await proxy.post("/task/remove", data={"uuid": task}) == {"success": True}
        await until(lambda: not list((proxy.data / "logs").glob("*")))
