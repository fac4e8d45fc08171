"""What is asked of a node: its info and options, and the tasks it holds (contract §1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlencode

from clusterodm_py.core.errors import BadRequest, NodeRefused, Unreachable
from clusterodm_py.core.options import parse_specs
from clusterodm_py.core.output import parse_lines
from clusterodm_py.core.types import Json, Node, NodeInfo, OptionSpec, TaskId, TaskReport
from clusterodm_py.core.wire import parse_node_info, parse_task_report
from clusterodm_py.nodeodm.connection import Connection, Unclear, granted

T = TypeVar("T")

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
"""Every client and every NodeODM agree on urlencoded bodies for task actions (contract §1.15)."""


class NodeClient:
    """Calls to any node. All raise `Unreachable` when there was no answer of a NodeODM, `NodeRefused` when it is an
    error.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def info(self, node: Node) -> NodeInfo:
        return _parsed(parse_node_info, granted(await self._get(node, "/info")))

    async def options(self, node: Node) -> tuple[OptionSpec, ...]:
        answer = granted(await self._get(node, "/options"))
        if not isinstance(answer, list):
            raise Unclear("its options are no list")
        return parse_specs(answer)

    async def admitted(self, node: Node) -> None:
        """Return when the node listens to us. Raises Unreachable when it does not, as with a wrong token."""
        try:
            await self.info(node)
        except NodeRefused as refusal:
            raise Unreachable(f"refuses us: {refusal}") from None

    async def report(self, node: Node, task: TaskId) -> TaskReport:
        """How `task` goes. NodeRefused: the node does not know it, and certainly so, since it listens to us."""
        answer = await self.task_json(node, task)
        await self._known(node, answer)
        return _parsed(parse_task_report, answer)

    async def account(self, node: Node, task: TaskId, line: int) -> tuple[TaskReport, list[str] | None]:
        """As `report`, and the task's output from `line` on; None from a node too old to tell both at once."""
        answer = await self._get(node, f"/task/{task}/info", f"with_output={line}")
        await self._known(node, answer)
        output = parse_lines(answer.get("output")) if isinstance(answer, dict) else None
        return _parsed(parse_task_report, answer), output

    async def task_json(self, node: Node, task: TaskId) -> Json:
        """The node's own task JSON, or its `error` object."""
        return await self._get(node, f"/task/{task}/info")

    async def task_output(self, node: Node, task: TaskId, line: int) -> Json:
        """The output from `line` on, or the node's `error` object."""
        return await self._get(node, f"/task/{task}/output", f"line={line}")

    async def act(self, node: Node, verb: str, task: TaskId, options: str | None = None) -> Json:
        """`cancel`, `remove` or `restart` a task; the node's answer as it is, `error` included."""
        fields = {"uuid": task} | ({"options": options} if options is not None else {})
        body = urlencode(fields).encode()
        answer = await self._connection.json(node, "POST", f"/task/{verb}", headers=FORM, data=body)
        if not isinstance(answer, dict):
            raise Unclear(f"its answer to {verb} is no object")
        return answer

    async def _known(self, node: Node, answer: Json) -> None:
        """Raises NodeRefused when a node's answer for a task says that there is none, and the node listens to us."""
        try:
            granted(answer)
        except NodeRefused:
            await self.admitted(node)
            raise

    async def _get(self, node: Node, path: str, query: str = "") -> Json:
        return await self._connection.json(node, "GET", path, query)


def _parsed(parse: Callable[[Json], T], answer: Json) -> T:
    try:
        return parse(answer)
    except BadRequest as error:
        raise Unclear(str(error)) from None
