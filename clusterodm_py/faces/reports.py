"""How a task goes, as its client is told: info and output (contract §1.11, §1.12).

Its node tells while it can be asked, and what it says is kept before it is passed on: no client sees a line or an end
that is taken back later. Otherwise our own record and the logbook tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from clusterodm_py.core.errors import BadRequest, StoreTrouble, UnknownTask, Unreachable
from clusterodm_py.core.lifecycle import state_on_node
from clusterodm_py.core.output import answered_from, node_line, own_start, parse_lines
from clusterodm_py.core.types import ENDED, Json, Node, Task, TaskId, TaskState
from clusterodm_py.core.wire import held_task_json, last_known_json, parse_task_report
from clusterodm_py.engine.notices import WAITING
from clusterodm_py.engine.tracker import Tracker
from clusterodm_py.engine.transcript import Transcript, own
from clusterodm_py.faces.relay import Relay
from clusterodm_py.faces.replies import Dropped, answer
from clusterodm_py.nodeodm.line import Answer
from clusterodm_py.store.base import Store

_ENDS: Final = re.compile(rb'"code":\s*[345]0')

_TRIES: Final = 3
"""How often a node is asked for one client, while the task's record changes under the question."""

_Told: TypeAlias = Callable[[Task], Awaitable[web.Response]]


class _Outdated(Exception):
    """The task's record changed while its node was asked: what that said may not be true any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Both answers, for a task that the caller may see."""

    store: Store
    relay: Relay
    tracker: Tracker
    transcript: Transcript
    position: Callable[[TaskId], Awaitable[tuple[int, int] | None]]
    """The place of a task in the queue, and the queue's length."""
    clock: Callable[[], float]

    async def info(self, request: web.BaseRequest, task: Task, query: str) -> web.Response:
        wanted = _value(query, "with_output")
        return await self._told(
            task,
            lambda now: self._live_info(request, now, query, wanted),
            lambda now: self._known_info(now, wanted),
        )

    async def output(self, request: web.BaseRequest, task: Task, query: str) -> web.Response:
        wanted = _value(query, "line") or "0"
        return await self._told(
            task,
            lambda now: self._live_output(request, now, query, wanted),
            lambda now: self._known_output(now, wanted),
        )

    async def _told(self, task: Task, live: _Told, known: _Told) -> web.Response:
        """What its node says, or what is known while that cannot be asked. Raises Dropped when that is nothing."""
        try:
            for _ in range(_TRIES):
                try:
                    return await live(task)
                except Unreachable:
                    break
                except _Outdated:
                    task = await self._read_again(task)
            return await known(task)
        except OSError:  # the logbook's disk: no error of the task's
            raise Dropped from None

    async def _read_again(self, task: Task) -> Task:
        record = await self.store.tasks.get(task.id)
        if record is None:
            raise UnknownTask(f"Invalid route for taskId {task.id}:info, no task table entry.")
        return record

    async def _live_info(
        self, request: web.BaseRequest, task: Task, query: str, wanted: str | None
    ) -> web.Response:
        node = await node_of(self.store, task)
        if node is None:
            lines = None if wanted is None else await self._held_lines(task, wanted)
            return answer(held_task_json(task, self.clock(), lines))
        asked = _shifted(query, "with_output", wanted, own(task))
        copy = await self._copy(node, task, "info", asked)
        if task.state is TaskState.ON_NODE and _ENDS.search(copy.body):
            task = await self._ended(task, copy)
        said = None if wanted is None else _json(copy)
        output = said.get("output") if isinstance(said, dict) else None
        if not (isinstance(said, dict) and isinstance(output, list)):
            return self.relay.reply(request, copy)
        front = await self._front(task, wanted, output)
        return self.relay.reply(
            request, copy, _dumped(said | {"output": [*front, *output]}) if front else None
        )

    async def _live_output(
        self, request: web.BaseRequest, task: Task, query: str, wanted: str
    ) -> web.Response:
        node = await node_of(self.store, task)
        if node is None:
            return answer(await self._held_lines(task, wanted))
        asked = _shifted(query, "line", wanted, own(task))
        copy = await self._copy(node, task, "output", asked)
        said = _json(copy)
        if not isinstance(said, list):
            return self.relay.reply(request, copy)
        front = await self._front(task, wanted, said)
        return self.relay.reply(request, copy, _dumped([*front, *said]) if front else None)

    async def _copy(self, node: Node, task: Task, what: str, query: str) -> Answer:
        """The node's answer. Raises Unreachable when a gateway answered in its place, or when it does not know a task
        that it should run: whether that is lost or only not there yet is for the tracker to find out, and clients would
        give up (contract §11.3).
        """
        copy = await self.relay.copy(node, f"/task/{task.id}/{what}", query)
        if copy.status != HTTPStatus.OK or copy.body[:1] not in (b"{", b"["):
            raise Unreachable("did not answer as a NodeODM does")
        if copy.body.startswith(b'{"error"'):
            if task.state is TaskState.ON_NODE:
                self.tracker.hint(task.id)
            raise Unreachable("does not know the task")
        return copy

    async def _ended(self, task: Task, copy: Answer) -> Task:
        """The record to go on with when the node of a running task seems to tell its end: that is kept first, so that
        no client is told of the end of a task that then starts again, as a submodel may that its node failed.
        """
        try:
            report = parse_task_report(_json(copy))
        except BadRequest:
            return task
        if state_on_node(report.status) not in ENDED:
            return task
        try:
            await self.tracker.told(task, report)
        except StoreTrouble:
            raise Unreachable("the end of the task could not be kept") from None
        record = await self.store.tasks.get(task.id)
        if (
            record is None
            or record.state not in ENDED
            or record.node != task.node
            or own(record) != own(task)
        ):
            raise _Outdated
        return record

    async def _front(self, task: Task, wanted: str | None, output: Json) -> list[str]:
        """The lines before the node's `output`, which is kept. Raises _Outdated when it is not the present one's."""
        lines, ours = parse_lines(output) or [], own(task)
        first = answered_from(wanted, ours, len(lines))
        if first is None:
            current = await self.transcript.present(task)
        else:
            current = await self.transcript.take(task, first, lines)
        if not current:
            raise _Outdated
        return await self.transcript.lines(task, own_start(wanted, ours, len(lines)), ours)

    async def _known_info(self, task: Task, wanted: str | None) -> web.Response:
        """Unreachable is not failed: the node's last word with our lines, if we ever had one."""
        if task.report is None and task.committed is None:
            raise Dropped
        return answer(last_known_json(task, self.clock(), await self._lines(task, wanted)))

    async def _known_output(self, task: Task, wanted: str) -> web.Response:
        lines = await self.transcript.read(task, wanted)
        if not lines and not await self.transcript.length(task):
            raise Dropped
        return answer(lines)

    async def _held_lines(self, task: Task, wanted: str) -> list[str]:
        """Our lines from `wanted` on; the last one of a task in the queue also tells its place there."""
        lines = await self.transcript.read(task, wanted)
        place = await self.position(task.id) if lines and lines[-1] == WAITING else None
        if place is not None:
            lines[-1] += f" It is number {place[0]} of {place[1]}."
        return lines

    async def _lines(self, task: Task, wanted: str | None) -> list[str] | None:
        """What we have of the output from `wanted` on; None when no output was asked for."""
        return None if wanted is None else await self.transcript.read(task, wanted)


async def node_of(store: Store, task: Task) -> Node | None:
    """The node to ask; None while the task is ours. Raises Unreachable when its node is not registered."""
    if task.node is None or not (task.state is TaskState.ON_NODE or task.state in ENDED):
        return None
    node = await store.nodes.get(task.node)
    if node is None:
        raise Unreachable("its node is not registered")
    return node


def _value(query: str, name: str) -> str | None:
    """The last value of a query parameter; None when it is not given."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(name)


def _shifted(query: str, name: str, wanted: str | None, ours: int) -> str:
    """The query for the node, whose lines are counted from behind ours."""
    if wanted is None or not ours:
        return query
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return urlencode([*pairs, (name, str(node_line(wanted, ours)))])


def _json(copy: Answer) -> Json:
    """What the node said. Raises Unreachable when it is no JSON: then it was not a NodeODM that answered."""
    try:
        said: Json = json.loads(copy.body)
    except (ValueError, RecursionError):
        raise Unreachable("did not answer with JSON") from None
    return said


def _dumped(value: Json) -> bytes:
    return json.dumps(value).encode()
