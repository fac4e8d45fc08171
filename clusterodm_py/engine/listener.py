"""Asks nodes how their tasks go, a few questions to one node at a time, and keeps what is new in their output.

What a task's state becomes of it is for the tracker to say.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import Final

from clusterodm_py.core.errors import NodeTrouble
from clusterodm_py.core.types import Node, NodeId, Task, TaskReport, TaskState
from clusterodm_py.engine.transcript import Transcript
from clusterodm_py.nodeodm.client import NodeClient

_ANEW: Final = "The processing node started this task from its beginning."


class Listener:
    """Asks one question for a task's report and for the lines that are not known yet."""

    def __init__(self, client: NodeClient, transcript: Transcript, *, at_once: int) -> None:
        self._client = client
        self._transcript = transcript
        self._gates: defaultdict[NodeId, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once))

    async def hear(self, task: Task, node: Node, *, terse: bool = False) -> tuple[Task, TaskReport]:
        """The node's word on a task that it runs or ended, and the task's record, which changes when the node turns out
        to have begun anew. `terse`: leave the output alone. Raises as `NodeClient.report`.
        """
        known = await self._transcript.known(task)
        first = max(
            0, known - 1
        )  # one that is known: whether it is still the same tells whether they go on from there
        async with self._gates[node.id]:
            if terse:
                return task, await self._client.report(node, task.id)
            report, lines = await self._client.account(node, task.id, first)
        if lines is None:
            return task, report
        if not known or await self._transcript.continues(task, first, lines):
            await self._transcript.take(task, first, lines)
        elif task.state is TaskState.ON_NODE:
            task = await self._transcript.sealed(task, _ANEW) or task
        return task, report

    async def last_lines(self, task: Task, node: Node) -> Task:
        """Keep what the node wrote up to the task's end, while it can be asked; the record, as `hear` gives it."""
        with suppress(NodeTrouble):
            task, _ = await self.hear(task, node)
        return task
