"""Clients that want their tasks done while everything around them is killed, hung, cut and filled up; and the verdict.

What holds afterwards, whatever happened: no committed task is lost, none is finished twice or with other files than its
client sent, every slot is free, and nothing is left in the spool or on a node that nobody wants.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from harness.node_process import NodeProcess
from harness.proxy import ProxyProcess
from harness.tasks import commit, info, init, upload

_TROUBLE: Final = (aiohttp.ClientError, OSError, TimeoutError, KeyError, AssertionError)
"""What a client may see while the proxy dies; it then tries again, as PyODM and WebODM do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of what happens."""

    tasks: int = 200
    clients: int = 16
    """Uploads at the same time."""
    proxy_kills: int = 20
    node_kills: int = 12
    hangs: int = 8
    cuts: int = 12
    span: float = 90.0
    """Seconds over which all of that is spread."""
    large: int = 0
    """Bytes of the one large file that every eighth task has; more than the spool's disk holds makes it full."""
    calm: float = 180.0
    """Seconds after the storm within which everything must be done."""


@dataclass
class Storm:
    proxy: ProxyProcess
    nodes: list[NodeProcess]
    plan: Plan
    seed: int
    spool: Path
    committed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Files and sizes of each task whose commit was granted."""
    refused: int = 0
    given_up: int = 0
    """Tasks whose images made room for others on a full disk, and whose node then died: as promised, they fail."""
    problems: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        """What went wrong; nothing, if all is well."""
        self.random = random.Random(self.seed)
        gate = asyncio.Semaphore(self.plan.clients)
        weather = asyncio.create_task(self._weather())
        await asyncio.gather(*(self._client(number, gate) for number in range(self.plan.tasks)))
        await weather
        await self._clear_up()
        return self.problems

    # -- clients ------------------------------------------------------------------------------------------------------

    async def _client(self, number: int, gate: asyncio.Semaphore) -> None:
        mine = random.Random(f"{self.seed}-{number}")
        await asyncio.sleep(mine.uniform(0, self.plan.span * 0.8))
        files = {
            f"{name}.jpg": bytes([name]) * mine.randint(500, 200_000) for name in range(mine.randint(1, 8))
        }
        if self.plan.large and number % 8 == 0:
            files["large.tif"] = b"L" * self.plan.large
        async with gate:
            while not await self._tried(files, mine):
                await asyncio.sleep(mine.uniform(0.1, 0.6))

    async def _tried(self, files: Mapping[str, bytes], mine: random.Random) -> bool:
        """One try from the beginning; what it leaves when it fails is removed, as WebODM does."""
        task = ""
        try:
            task = (await init(self.proxy))["uuid"]
            for name, content in files.items():
                answer = await upload(self.proxy, task, {name: content})
                self.refused += "free space" in str(answer) or "other tasks have ended" in str(answer)
                assert answer == {"success": True}, answer
                await asyncio.sleep(mine.uniform(0, 0.05))
            answer = await self._commit(task)
        except _TROUBLE:
            await self._give_up(task)
            return False
        if answer != {"uuid": task}:
            await self._give_up(task)
            return False
        self.committed[task] = {name: len(content) for name, content in files.items()}
        return True

    async def _commit(self, task: str) -> Any:
        """Committed again until it is answered: a lost answer says nothing."""
        while True:
            try:
                return await commit(self.proxy, task)
            except _TROUBLE:
                await asyncio.sleep(0.1)

    async def _give_up(self, task: str) -> None:
        while task:
            try:
                await self.proxy.post("/task/remove", data={"uuid": task})
            except _TROUBLE:
                await asyncio.sleep(0.1)
            else:
                return

    # -- weather ------------------------------------------------------------------------------------------------------

    async def _weather(self) -> None:
        plan = self.plan
        events = [
            *[self._kill_proxy] * plan.proxy_kills,
            *[self._kill_node] * plan.node_kills,
            *[self._hang_node] * plan.hangs,
            *[self._cut_uploads] * plan.cuts,
        ]
        self.random.shuffle(events)
        for event in events:
            await asyncio.sleep(self.random.uniform(0, 2 * plan.span / len(events)))
            await event()

    async def _kill_proxy(self) -> None:
        await self.proxy.restart()

    async def _kill_node(self) -> None:
        node = self.random.choice(self.nodes)
        await node.kill()
        await asyncio.sleep(self.random.uniform(0, 3))
        await node.start()

    async def _hang_node(self) -> None:
        node = self.random.choice(self.nodes)
        node.hang()
        await asyncio.sleep(self.random.uniform(0.5, 4))
        node.go_on()

    async def _cut_uploads(self) -> None:
        await self.random.choice(self.nodes).change(
            cut_uploads=self.random.randint(1, 4), lose_commit_replies=self.random.randint(0, 1)
        )

    # -- verdict ------------------------------------------------------------------------------------------------------

    async def _clear_up(self) -> None:
        left: list[str] = []
        try:
            async with asyncio.timeout(self.plan.calm):
                for task in list(self.committed):
                    while (code := (await info(self.proxy, task))["status"]["code"]) < 30:
                        await asyncio.sleep(0.2)
                    if code != 40:
                        self._explain(task, await info(self.proxy, task))
                while left := [line async for line in self._left()]:
                    await asyncio.sleep(0.3)
        except TimeoutError:
            unfinished = [
                task for task in self.committed if (await info(self.proxy, task))["status"]["code"] < 40
            ]
            self.problems += [f"not done in time: {task}" for task in unfinished]
            self.problems += [line async for line in self._left()] or left[:1]
        self.problems += [line async for line in self._copies()]

    def _explain(self, task: str, told: dict[str, Any]) -> None:
        """A task may end other than done only where the full disk cost it its images, and a kill its node."""
        if self.plan.large and "images are no longer kept here" in str(told["status"]):
            self.given_up += 1
            del self.committed[task]
        else:
            self.problems.append(f"{task} ended otherwise: {told}")

    async def _left(self) -> Any:
        """What is still there and should not be."""
        for node in self.nodes:
            state = await node.state()
            for task in state["tasks"]:
                if task["uuid"] not in self.committed:
                    yield f"{node.address} still has {task['uuid']}, which nobody committed"
                if task["status"]["code"] < 30:
                    yield f"{node.address} still works on {task['uuid']}"
        for line in self._kept():
            yield line

    def _kept(self) -> Iterator[str]:
        for file in self.spool.rglob("*"):
            if file.is_file():
                yield f"the spool still has {file.relative_to(self.spool)}"
        with closing(sqlite3.connect(self.proxy.data / "clusterodm.db")) as database:
            for task, node in database.execute("select * from strays"):
                yield f"{node} was not told to drop {task}"

    async def _copies(self) -> Any:
        """Each committed task on one node, finished, with exactly its files.

        A node that was killed after it had finished a task does not know it any more: then it is on none.
        """
        holders: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes:
            for task in (await node.state())["tasks"]:
                holders.setdefault(task["uuid"], []).append(task)
        for task, files in self.committed.items():
            copies = holders.get(task, [])
            if len(copies) > 1 or not (copies or self.plan.node_kills):
                yield f"{task} is on {len(copies)} nodes"
            for copy in copies:
                if copy["files"] != files:
                    yield f"{task} ran with {copy['files']} instead of {files}"
                if copy["starts"] != 1:
                    yield f"{task} was started {copy['starts']} times on its node"
