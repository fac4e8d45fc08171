"""Everything about tasks that exist: list, info, output, download, actions (contract §1.6, §1.11-1.15).

Whose task it is decides who is asked: its node, by relay, or our own record while no node has it or can answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from clusterodm_py.core import routing
from clusterodm_py.core.errors import BadRequest, UnknownTask, Unreachable
from clusterodm_py.core.output import join_lines, node_line
from clusterodm_py.core.types import ENDED, Access, Json, Node, Task, TaskId, TaskState
from clusterodm_py.core.wire import held_task_json, last_known_json
from clusterodm_py.engine.control import Control
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.faces.forms import action_fields
from clusterodm_py.faces.relay import Relay
from clusterodm_py.faces.replies import Dropped, answer, failure
from clusterodm_py.nodeodm.quick import Answer
from clusterodm_py.store.base import Store

_LISTED: Final = frozenset(TaskState) - {TaskState.SPOOLING}
_ENDS: Final = re.compile(rb'"status":\s*\{"code":\s*[345]0')


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFace:
    """Handlers of the task routes."""

    store: Store
    relay: Relay
    control: Control
    tracker: Tracker
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
                return await self._info(request, await self._found(access, task, "info"), query)
            case routing.TaskOutput(task=task):
                return await self._output(request, await self._found(access, task, "output"), query)
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

    async def _node_of(self, task: Task) -> Node | None:
        """The node to ask; None while the task is ours. Raises Unreachable when its node is not registered."""
        if task.node is None or not (task.state is TaskState.ON_NODE or task.state in ENDED):
            return None
        node = await self.store.nodes.get(task.node)
        if node is None:
            raise Unreachable("its node is not registered")
        return node

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

    async def _info(self, request: web.BaseRequest, task: Task, query: str) -> web.StreamResponse:
        wanted = _value(query, "with_output")
        try:
            node = await self._node_of(task)
            if node is None:
                return answer(held_task_json(task, self.clock(), _lines(task, wanted)))
            asked = _shifted(query, "with_output", wanted, len(task.lines))
            copy = await self.relay.copy(node, f"/task/{task.id}/info", asked)
        except Unreachable:
            return self._last_known(task, wanted)
        if task.state is TaskState.ON_NODE and copy.body.startswith(b'{"error"'):
            # Whether it is lost or only not there yet is for the tracker to find out; clients would give up.
            self.tracker.hint(task.id)
            return self._last_known(task, wanted)
        if task.state is TaskState.ON_NODE and _ENDS.search(copy.body):
            self.tracker.hint(task.id)
        return self.relay.reply(request, copy, _with_own_lines(task, copy, wanted))

    def _last_known(self, task: Task, wanted: str | None) -> web.Response:
        """Unreachable is not failed: what we know, or, where that is nothing, no answer at all."""
        if task.report is None and task.committed is None:
            raise Dropped
        return answer(last_known_json(task, self.clock(), _lines(task, wanted)))

    async def _output(self, request: web.BaseRequest, task: Task, query: str) -> web.StreamResponse:
        wanted = _value(query, "line")
        try:
            node = await self._node_of(task)
            if node is None:
                return answer(list(_lines(task, wanted or "0") or ()))
            asked = _shifted(query, "line", wanted, len(task.lines))
            copy = await self.relay.copy(node, f"/task/{task.id}/output", asked)
        except Unreachable:
            raise Dropped from None
        if not task.lines or not copy.body.startswith(b"["):
            return self.relay.reply(request, copy)
        lines = join_lines(task.lines, json.loads(copy.body), wanted)
        return self.relay.reply(request, copy, json.dumps(lines).encode())

    async def _pass_on(
        self, request: web.BaseRequest, task: Task, rest: str, path: str, query: str
    ) -> web.StreamResponse:
        try:
            node = await self._node_of(task)
        except Unreachable:
            raise Dropped from None
        if node is None:
            return failure(f"Invalid route for taskId {task.id}:{rest}, no valid route possible.")
        return await self.relay.stream(request, node, path, query)


def _value(query: str, name: str) -> str | None:
    """The last value of a query parameter; None when it is not given."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(name)


def _lines(task: Task, wanted: str | None) -> list[str] | None:
    """Our own lines of the task from `wanted` on; None when no output was asked for."""
    return None if wanted is None else join_lines(task.lines, (), wanted)


def _shifted(query: str, name: str, wanted: str | None, own: int) -> str:
    """The query for the node, whose lines are counted from behind our own."""
    if wanted is None or not own:
        return query
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return urlencode([*pairs, (name, str(node_line(wanted, own)))])


def _with_own_lines(task: Task, copy: Answer, wanted: str | None) -> bytes | None:
    """The node's info with our lines before its own; None when there is nothing to add."""
    if wanted is None or not task.lines:
        return None
    try:
        said = json.loads(copy.body)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("output"), list):
        return None
    return json.dumps(said | {"output": join_lines(task.lines, said["output"], wanted)}).encode()
