"""Cancel, remove and restart a task wherever it is: in our hands or on a node (contract §1.15).

Every verb answers with the JSON NodeODM would answer with, and raises Unreachable when the task's node cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from clusterodm_py.core.errors import NodeRefused, Unreachable
from clusterodm_py.core.types import ACTIVE, ENDED, Json, Node, Task, TaskId, TaskState
from clusterodm_py.engine.dispatcher import Dispatcher
from clusterodm_py.engine.pipeline import Pipelines
from clusterodm_py.engine.records import change
from clusterodm_py.engine.strays import Strays
from clusterodm_py.engine.traces import Traces
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.nodeodm.client import NodeClient
from clusterodm_py.nodeodm.connection import granted
from clusterodm_py.store.base import Store
from clusterodm_py.uploads.spool import Spool

_SUCCESS: Final[Json] = {"success": True}
_NO_RESTART: Final[Json] = {
    "error": "This task cannot be restarted here: its images are gone. Create a new task."
}

_NO_NEW_OPTIONS: Final[Json] = {
    "error": "No node ever ran this task, so it can only be restarted with the options it has. Leave them out, or"
    " create a new task."
}


class Control:
    """The three verbs; the caller has made sure that whoever asks may touch the task."""

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool,
        client: NodeClient,
        dispatcher: Dispatcher,
        pipelines: Pipelines,
        tracker: Tracker,
        strays: Strays,
        traces: Traces,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._spool = spool
        self._client = client
        self._dispatcher = dispatcher
        self._pipelines = pipelines
        self._tracker = tracker
        self._strays = strays
        self._traces = traces
        self._clock = clock

    async def cancel(self, task: Task) -> Json:
        """Stop the task for good; its record stays."""
        if task.state is TaskState.SPOOLING:
            return await self.remove(task)
        held = await self._withdraw(task.id)
        if held is None:
            return {"error": f"{task.id} not found"}
        if node := await self._node_of(held):
            answer = await self._client.act(node, "cancel", task.id)
            if _good(answer):
                await self._tracker.canceled(task.id, node)
                await self._canceled(held)
            return answer
        await self._canceled(held)
        await self._spool.discard(task.id)
        return _SUCCESS

    async def remove(self, task: Task) -> Json:
        """Forget the task, its files and its results. A node that is away is told as soon as it is back."""
        held = await self._withdraw(task.id) or task
        answer = _SUCCESS
        if node := await self._node_of(held):
            try:
                answer = await self._client.act(node, "remove", task.id)
            except Unreachable:
                await self._strays.add(task.id, (node.id,))
            if not _good(answer):
                if (
                    held.state is TaskState.ON_NODE
                ):  # it may run; whether it does is for the tracker to find out
                    self._tracker.hint(task.id)
                    return answer
                await self._strays.add(task.id, (node.id,))
                answer = _SUCCESS
        await self._traces.erase(held)
        return answer

    async def restart(self, task: Task, options: str | None) -> Json:
        """Run an ended task again: on its node, or from our spool when no node ever ran it."""
        if node := await self._node_of(task):
            answer = await self._client.act(node, "restart", task.id, options)
            if _good(answer):
                await change(self._store.tasks, task.id, ENDED, _running_again)
                self._tracker.follow(task.id)
            return answer
        if task.state is not TaskState.FAILED or not await self._spool.files(task.id):
            return _NO_RESTART
        if options:
            return _NO_NEW_OPTIONS
        await change(self._store.tasks, task.id, {TaskState.FAILED}, _queued_again)
        self._dispatcher.submit(task.id)
        return _SUCCESS

    async def _withdraw(self, task: TaskId) -> Task | None:
        """Take a task out of the dispatcher's hands, freeing its slot and having nodes drop what they got of it.

        Where that fails, or where it came too late, the task is in good hands again when this returns.
        """
        await self._dispatcher.halt(task)
        await self._pipelines.drop(task)
        try:
            record = await self._withdrawn(task)
        except BaseException:
            self._dispatcher.submit(task)
            raise
        if record is not None and record.state is TaskState.ON_NODE:
            self._tracker.follow(task)
        return record

    async def _withdrawn(self, task: TaskId) -> Task | None:
        record = await self._store.tasks.get(task)
        if record is None or record.state not in ACTIVE - {TaskState.ON_NODE}:
            return record
        now = self._clock()
        withdrawn = await change(
            self._store.tasks,
            task,
            ACTIVE - {TaskState.ON_NODE},
            lambda known: replace(known, state=TaskState.CANCELED, node=None, ended=now),
        )
        if withdrawn is None:
            return await self._store.tasks.get(task)
        await self._strays.add(task, withdrawn.touched)
        return withdrawn

    async def _node_of(self, task: Task) -> Node | None:
        """The node that holds the task; None when no node has it, or one that is not registered any more."""
        if task.node is None or task.state not in ENDED | {TaskState.ON_NODE}:
            return None
        return await self._store.nodes.get(task.node)

    async def _canceled(self, task: Task) -> None:
        now = self._clock()
        await change(
            self._store.tasks,
            task.id,
            ENDED | {TaskState.ON_NODE},
            lambda known: replace(known, state=TaskState.CANCELED, ended=known.ended or now),
        )


def _good(answer: Json) -> bool:
    try:
        granted(answer)
    except NodeRefused:
        return False
    return True


def _running_again(task: Task) -> Task:
    return replace(task, state=TaskState.ON_NODE, report=None, ended=None, error=None)


def _queued_again(task: Task) -> Task:
    return replace(
        task,
        state=TaskState.QUEUED,
        ended=None,
        error=None,
        attempts=0,
        moves=0,
        retries=0,
        avoid=(),
        waiting=False,
    )
