"""The one brain behind every operator's face: carries a command out and replies. Knows no sockets and no grammar."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from clusterodm_py.core.commands import (
    AsrViewCmd,
    Command,
    Document,
    Fail,
    Help,
    Invalid,
    Lines,
    NodeAdd,
    NodeBest,
    NodeChange,
    NodeDel,
    NodeInfo,
    NodeList,
    NodeLock,
    NodeQuestion,
    NodeUnlock,
    NodeUpdate,
    NodeWhy,
    Ok,
    Reply,
    RouteInfo,
    RouteList,
    RouteQuestion,
    TaskCancel,
    TaskCommand,
    TaskInfo,
    TaskList,
    TaskOutput,
    TaskRemove,
)
from clusterodm_py.core.console import HELP, node_line
from clusterodm_py.core.documents import node_json, route_json
from clusterodm_py.core.errors import BadRequest, ClusterError, NodeTrouble, Refused, UnknownTask
from clusterodm_py.core.output import join_lines
from clusterodm_py.core.output import node_line as line_at_node
from clusterodm_py.core.placement import Need, Refuse, Wait, candidates, place, reasons
from clusterodm_py.core.types import (
    ENDED,
    Health,
    Json,
    Node,
    NodeId,
    NodeView,
    Task,
    TaskId,
    TaskState,
)
from clusterodm_py.core.wire import last_known_json
from clusterodm_py.store.base import Store

ROUTED: Final = ENDED | {TaskState.ON_NODE}
"""With a node named, the states in which the node answers for the task: what operators call a route."""

_AT_ONCE: Final = 16
"""Questions to nodes under way at the same time for a list of tasks."""


class Watch(Protocol):
    """What is known of the nodes."""

    async def views(self) -> tuple[NodeView, ...]:
        """One view per registered node, in list order, as registered at this moment."""

    async def sync(self) -> None:
        """Follow the store: nodes that are new get asked at once in the background, removed ones no longer."""

    async def refresh(self, node: NodeId | None = None) -> bool:
        """Ask one node, or all, now; False when one of them did not answer."""

    def picked(self, node: NodeId) -> None:
        """It is the next one's turn."""


class Calls(Protocol):
    """Questions to a node about a task; the answer may be its `error` object. Both raise NodeTrouble."""

    async def task_json(self, node: Node, task: TaskId) -> Json: ...

    async def task_output(self, node: Node, task: TaskId, line: int) -> Json: ...


class Tasks(Protocol):
    """Verbs for a task wherever it is; they answer as NodeODM does and raise NodeTrouble."""

    async def cancel(self, task: Task) -> Json: ...

    async def remove(self, task: Task) -> Json: ...


@dataclass(frozen=True, slots=True)
class Route:
    """A task and the node that answers for it."""

    task: Task
    view: NodeView


class Admin:
    """Carries out the commands of operators, who may see and change everything."""

    def __init__(
        self,
        *,
        store: Store,
        watch: Watch,
        calls: Calls,
        tasks: Tasks,
        front: Callable[[Task], Awaitable[Sequence[str]]],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._watch = watch
        self._calls = calls
        self._tasks = tasks
        self._front = front
        self._clock = clock

    async def execute(self, command: Command) -> Reply:
        """Do it and tell. What does not exist is Invalid to ask about and a Fail to change (contract §7.3)."""
        try:
            return await self._answer(command)
        except Refused as error:
            return Fail(str(error)) if isinstance(command, NodeChange) else Invalid()
        except ClusterError as error:
            return Fail(str(error))

    async def _answer(self, command: Command) -> Reply:
        if isinstance(command, NodeChange):
            return await self._change(command)
        if isinstance(command, NodeQuestion):
            return await self._node(command)
        if isinstance(command, RouteQuestion):
            return await self._route(command)
        if isinstance(command, TaskCommand):
            return await self._task(command)
        match command:
            case Help():
                return HELP
            case AsrViewCmd():
                return Invalid()  # as ClusterODM without an autoscaler; there is none yet

    # -- nodes --------------------------------------------------------------------------------------------------------

    async def _change(self, command: NodeChange) -> Reply:
        match command:
            case NodeUpdate():
                await self._watch.refresh()  # a node that does not answer was asked all the same
                return Ok()
            case NodeAdd(address, token):
                await self._store.nodes.add(Node(address=address, token=token))
            case NodeDel(number):
                await self._store.nodes.remove((await self._nth(number)).node.id)
            case NodeLock(number):
                await self._lock(number, locked=True)
            case NodeUnlock(number):
                await self._lock(number, locked=False)
        await self._watch.sync()
        return Ok()

    async def _lock(self, number: int, *, locked: bool) -> None:
        view = await self._nth(number)
        await self._store.nodes.replace(replace(view.node, locked=locked))

    async def _node(self, command: NodeQuestion) -> Reply:
        match command:
            case NodeInfo(number):
                return Document(node_json(await self._nth(number)))
            case NodeList():
                views = await self._watch.views()
                return Lines((*(node_line(number, view) for number, view in enumerate(views, 1)), ""))
            case NodeBest(images):
                return await self._best(images)
            case NodeWhy(images):
                return await self._why(images)

    async def _why(self, images: int) -> Reply:
        """A placement that nobody asked for: nothing is reserved and no turn is taken."""
        placed = place(await self._watch.views(), Need(images), late=True)
        match placed:
            case Refuse(message=message):
                return Lines((message, *reasons(placed.whys)))
            case Wait():
                return Lines(("It would wait in the queue: no node has a free slot.", *reasons(placed.whys)))
            case _:
                return Lines(reasons(placed.whys))

    async def _best(self, images: int) -> Reply:
        ranked = candidates(await self._watch.views(), Need(images))
        if not ranked:
            return Lines(("No best node available",))
        self._watch.picked(ranked[0].node.id)
        return Lines((node_line(1, ranked[0]),))

    async def _nth(self, number: int) -> NodeView:
        views = await self._watch.views()
        if not 1 <= number <= len(views):
            raise BadRequest(f"There is no node {number}; NODE LIST numbers them.")
        return views[number - 1]

    # -- routes -------------------------------------------------------------------------------------------------------

    async def _route(self, command: RouteQuestion) -> Reply:
        match command:
            case RouteInfo(task):
                route = await self._route_of(task)
                return Document(route_json(route.task, route.view.node))
            case RouteList(number):
                routes = await self._routes(number)
                return Document({route.task.id: route_json(route.task, route.view.node) for route in routes})

    async def _route_of(self, task: TaskId) -> Route:
        record = await self._store.tasks.get(task)
        if record and record.state in ROUTED:
            for view in await self._watch.views():
                if view.node.id == record.node:
                    return Route(record, view)
        raise UnknownTask(f"No node has a task {task}.")

    async def _routes(self, number: int | None) -> list[Route]:
        """Every route, oldest task first, or those to one node."""
        views = await self._watch.views() if number is None else [await self._nth(number)]
        by_id = {view.node.id: view for view in views}
        records = await self._store.tasks.in_states(ROUTED)
        return [Route(record, by_id[record.node]) for record in records if record.node in by_id]

    # -- tasks --------------------------------------------------------------------------------------------------------

    async def _task(self, command: TaskCommand) -> Reply:
        match command:
            case TaskList(number):
                return await self._list(await self._routes(number))
            case TaskInfo(task):
                return Document(await self._ask(await self._route_of(task)))
            case TaskOutput(task, line):
                return await self._output(await self._route_of(task), line)
            case TaskCancel(task):
                return await self._act(self._tasks.cancel, task)
            case TaskRemove(task):
                return await self._act(self._tasks.remove, task)

    async def _list(self, routes: list[Route]) -> Reply:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def told(route: Route) -> Json:
            if route.view.health is Health.DOWN:  # many tasks of one dead node must not wait for it in turn
                return self._last_known(route, "The node is offline.")
            async with gate:
                return await self._ask(route)

        answers = await asyncio.gather(*(told(route) for route in routes))
        return Document([answer for answer in answers if isinstance(answer, dict) and "error" not in answer])

    async def _ask(self, route: Route) -> Json:
        """The node's word on a task, or its last one while it cannot be asked."""
        try:
            return await self._calls.task_json(route.view.node, route.task.id)
        except NodeTrouble as trouble:
            return self._last_known(route, str(trouble))

    def _last_known(self, route: Route, trouble: str) -> Json:
        return last_known_json(route.task, self._clock()) if route.task.report else {"error": trouble}

    async def _output(self, route: Route, line: int) -> Reply:
        own, wanted = await self._front(route.task), str(line)
        try:
            answer = await self._calls.task_output(
                route.view.node, route.task.id, line_at_node(wanted, len(own))
            )
        except NodeTrouble as trouble:
            answer = {"error": str(trouble)}
        if not isinstance(answer, list):
            return Document(answer)
        return Lines(tuple(join_lines(own, [str(text) for text in answer], wanted)))

    async def _act(self, verb: Callable[[Task], Awaitable[Json]], task: TaskId) -> Reply:
        """Also for tasks that no node has yet, which ClusterODM's operators could not reach."""
        record = await self._store.tasks.get(task)
        if record is None:
            raise UnknownTask(f"There is no task {task}.")
        try:
            return Document(await verb(record))
        except NodeTrouble as trouble:
            return Document({"error": str(trouble)})
