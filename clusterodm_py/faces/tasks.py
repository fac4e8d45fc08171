"""Everything about tasks that exist: list, info, output, download, actions (contract §1.6, §1.11-1.15).

Whose task it is decides who is asked: its node, by relay, or our own record while no node has it or can answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from clusterodm_py.core import routing
from clusterodm_py.core.errors import BadRequest, UnknownTask, Unreachable
from clusterodm_py.core.types import Access, Json, Task, TaskId, TaskState
from clusterodm_py.engine.control import Control
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.faces.forms import action_fields
from clusterodm_py.faces.relay import Relay
from clusterodm_py.faces.replies import Dropped, answer, failure
from clusterodm_py.faces.reports import Reports, node_of
from clusterodm_py.store.base import Store

_LISTED: Final = frozenset(TaskState) - {TaskState.SPOOLING}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFace:
    """Handlers of the task routes."""

    store: Store
    relay: Relay
    control: Control
    tracker: Tracker
    reports: Reports
    clock: Callable[[], float]

    async def handle(
        self, request: web.BaseRequest, access: Access, route: routing.Route, path: str, query: str
    ) -> web.StreamResponse:
        match route:
            case routing.TaskList():
                return await self._list(access)
            case routing.TaskAction(verb=verb):
                return await self._act(request, access, verb, path)
            case routing.TaskInfo(task=task):
                return await self.reports.info(request, await self._found(access, task, "info"), query)
            case routing.TaskOutput(task=task):
                return await self.reports.output(request, await self._found(access, task, "output"), query)
            case routing.TaskDownload(task=task, asset=asset):
                rest = f"download/{asset}"
                return await self._pass_on(request, await self._found(access, task, rest), rest, path, query)
            case routing.TaskOther(task=task, rest=rest):
                return await self._pass_on(request, await self._found(access, task, rest), rest, path, query)
            case _:
                return failure(f"Cannot handle {path}")

    async def hint(self, task: TaskId) -> None:
        """Have the task's node asked how it goes, if we follow such a task."""
        record = await self.store.tasks.get(task)
        if record is not None and record.state is TaskState.ON_NODE:
            self.tracker.hint(task)

    async def _found(self, access: Access, task: TaskId, rest: str) -> Task:
        record = await self.store.tasks.get(task)
        if record is None or record.state not in _LISTED or not access.may_touch(record.owner):
            raise UnknownTask(f"Invalid route for taskId {task}:{rest}, no task table entry.")
        await self.store.tasks.touch(task, self.clock())
        return record

    async def _list(self, access: Access) -> web.Response:
        """The caller's tasks, from our own records: no node is asked (contract §12 D-35, D-41)."""
        tasks = await (self.store.tasks.in_states(_LISTED) if access.admin else self._own(access))
        return answer([{"uuid": task.id} for task in tasks])

    async def _own(self, access: Access) -> tuple[Task, ...]:
        return tuple(task for task in await self.store.tasks.of_owner(access.owner) if task.state in _LISTED)

    async def _act(
        self, request: web.BaseRequest, access: Access, verb: routing.Verb, path: str
    ) -> web.Response:
        fields = await action_fields(request)
        if not fields.get("uuid"):
            raise BadRequest(f"No uuid found in {path}")
        task = await self.store.tasks.get(TaskId(fields["uuid"]))
        if task is None or not access.may_touch(task.owner):
            raise UnknownTask(f"Invalid route for taskId {fields['uuid']}, no nodes in routing table.")
        try:
            return answer(await self._acted(task, verb, fields))
        except Unreachable:
            raise Dropped from None

    async def _acted(self, task: Task, verb: routing.Verb, fields: dict[str, str]) -> Json:
        match verb:
            case routing.Verb.CANCEL:
                return await self.control.cancel(task)
            case routing.Verb.REMOVE:
                return await self.control.remove(task)
            case routing.Verb.RESTART:
                return await self.control.restart(task, fields.get("options"))

    async def _pass_on(
        self, request: web.BaseRequest, task: Task, rest: str, path: str, query: str
    ) -> web.StreamResponse:
        try:
            node = await node_of(self.store, task)
        except Unreachable:
            raise Dropped from None
        if node is None:
            return failure(f"Invalid route for taskId {task.id}:{rest}, no valid route possible.")
        return await self.relay.stream(request, node, path, query)
