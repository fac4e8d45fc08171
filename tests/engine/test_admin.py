from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

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
    NodeDel,
    NodeInfo,
    NodeList,
    NodeLock,
    NodeUnlock,
    NodeUpdate,
    Ok,
    Reply,
    RouteInfo,
    RouteList,
    TaskCancel,
    TaskInfo,
    TaskList,
    TaskOutput,
    TaskRemove,
)
from clusterodm_py.core.console import HELP
from clusterodm_py.core.errors import Stale, Unreachable
from clusterodm_py.core.placement import next_turn
from clusterodm_py.core.types import (
    Address,
    Health,
    Json,
    Node,
    NodeId,
    NodeView,
    OwnerId,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
    Token,
)
from clusterodm_py.core.types import NodeInfo as Info
from clusterodm_py.engine.admin import Admin
from clusterodm_py.store.memory import MemoryStore

NOW: Final = 1_700_000_000.0
ALPHA: Final = Address("alpha", 3001)
BETA: Final = Address("beta", 3002)
ID: Final = TaskId("11111111-2222-4333-8444-aaaaaaaaaaaa")
OTHER: Final = TaskId("22222222-2222-4333-8444-bbbbbbbbbbbb")
INFO: Final = Info(version="2.2.4", engine="odm", task_queue_count=0, max_parallel_tasks=1)
SECRET: Final = "s3cret"


async def own_lines(task: Task) -> Sequence[str]:
    return task.lines


class Nodes:
    """Watch and nodes in one: what polls found, and what the nodes hold."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.seen: dict[NodeId, NodeView] = {}
        self.tasks: dict[TaskId, Json] = {}
        self.outputs: dict[TaskId, list[Json]] = {}
        self.away: set[NodeId] = set()
        self.asked: list[tuple[NodeId, TaskId]] = []
        self.polls: list[NodeId | None] = []
        self.followed: tuple[Node, ...] = ()
        self.busiest = 0
        self._busy = 0

    async def views(self) -> tuple[NodeView, ...]:
        nodes = await self._store.nodes.all()
        return tuple(replace(self.seen.get(node.id, NodeView(node=node)), node=node) for node in nodes)

    async def sync(self) -> None:
        self.followed = await self._store.nodes.all()

    async def refresh(self, node: NodeId | None = None) -> bool:
        self.polls.append(node)
        return not self.away

    def picked(self, node: NodeId) -> None:
        self.seen[node] = replace(self.seen[node], turn=next_turn(self.seen.values()))

    async def task_json(self, node: Node, task: TaskId) -> Json:
        self._ask(node, task)
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        await asyncio.sleep(0)
        self._busy -= 1
        return self.tasks.get(task, {"error": f"{task} not found"})

    async def task_output(self, node: Node, task: TaskId, line: int) -> Json:
        self._ask(node, task)
        return self.outputs[task][line:] if task in self.outputs else {"error": f"{task} not found"}

    def _ask(self, node: Node, task: TaskId) -> None:
        self.asked.append((node.id, task))
        if node.id in self.away:
            raise Unreachable(f"{node.id} does not answer.")


class Verbs:
    """Cancels and removes by writing it down."""

    def __init__(self) -> None:
        self.done: list[tuple[str, TaskId]] = []
        self.trouble: Exception | None = None

    async def cancel(self, task: Task) -> Json:
        return self._do("cancel", task)

    async def remove(self, task: Task) -> Json:
        return self._do("remove", task)

    def _do(self, verb: str, task: Task) -> Json:
        if self.trouble:
            raise self.trouble
        self.done.append((verb, task.id))
        return {"success": True}


class Cluster:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.nodes = Nodes(self.store)
        self.verbs = Verbs()
        self.admin = Admin(
            store=self.store,
            watch=self.nodes,
            calls=self.nodes,
            tasks=self.verbs,
            front=own_lines,
            clock=lambda: NOW,
        )

    async def tell(self, command: Command) -> Reply:
        return await self.admin.execute(command)

    async def document(self, command: Command) -> Json:
        reply = await self.tell(command)
        assert isinstance(reply, Document), reply
        return reply.content

    async def add(self, address: Address, *, info: Info | None = INFO, health: Health = Health.UP) -> Node:
        node = Node(address=address, token=Token(SECRET))
        await self.store.nodes.add(node)
        self.nodes.seen[node.id] = NodeView(node=node, info=info, health=health, refreshed=NOW)
        return node

    async def route(
        self,
        task: TaskId,
        address: Address | None,
        *,
        state: TaskState = TaskState.ON_NODE,
        owner: str = "ann",
    ) -> Task:
        return await self.store.tasks.create(
            Task(
                id=task,
                owner=OwnerId(owner),
                state=state,
                request=TaskRequest(),
                created=NOW,
                accessed=NOW,
                node=Node(address=address).id if address else None,
            )
        )

    async def reported(self, task: Task, raw: Json) -> None:
        report = TaskReport(raw=json.dumps(raw), status=TaskStatus.RUNNING)
        await self.store.tasks.save(replace(task, report=report))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# -- nodes ------------------------------------------------------------------------------------------------------------


async def test_the_first_node_is_added_and_followed(cluster: Cluster) -> None:
    assert await cluster.tell(NodeAdd(ALPHA, Token(SECRET))) == Ok()
    node = Node(address=ALPHA, token=Token(SECRET))
    assert await cluster.store.nodes.all() == (node,)
    assert cluster.nodes.followed == (node,)


async def test_a_node_is_not_added_twice(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    assert isinstance(await cluster.tell(NodeAdd(ALPHA, Token("other"))), Fail)
    assert [node.token for node in await cluster.store.nodes.all()] == [Token(SECRET)]


async def test_nodes_are_deleted_by_their_number(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    beta = await cluster.add(BETA)
    assert await cluster.tell(NodeDel(1)) == Ok()
    assert await cluster.store.nodes.all() == (beta,)
    assert cluster.nodes.followed == (beta,)


async def test_a_node_is_locked_and_unlocked(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    beta = await cluster.add(BETA)
    assert await cluster.tell(NodeLock(2)) == Ok()
    assert await cluster.store.nodes.get(beta.id) == replace(beta, locked=True)
    assert [node.locked for node in cluster.nodes.followed] == [False, True]
    assert await cluster.tell(NodeUnlock(2)) == Ok()
    assert await cluster.store.nodes.get(beta.id) == beta
    assert [node.locked for node in cluster.nodes.followed] == [False, False]


@pytest.mark.parametrize("number", [-1, 0, 2, 99])
async def test_nodes_that_do_not_exist_fail_to_change_and_are_invalid_to_ask_about(
    cluster: Cluster, number: int
) -> None:
    await cluster.add(ALPHA)
    for change in (NodeDel(number), NodeLock(number), NodeUnlock(number)):
        assert isinstance(await cluster.tell(change), Fail)
    for question in (NodeInfo(number), RouteList(number), TaskList(number)):
        assert await cluster.tell(question) == Invalid()
    assert len(await cluster.store.nodes.all()) == 1


async def test_an_update_asks_all_and_is_fine_though_one_is_away(cluster: Cluster) -> None:
    cluster.nodes.away = {(await cluster.add(ALPHA)).id}
    assert await cluster.tell(NodeUpdate()) == Ok()
    assert cluster.nodes.polls == [None]


async def test_node_list_numbers_the_nodes_and_ends_in_an_empty_line(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.add(BETA, info=None, health=Health.DOWN)
    assert await cluster.tell(NodeList()) == Lines(
        (
            "1) alpha:3001 [online] [0/1] <engine: odm ?> <API: 2.2.4>",
            "2) beta:3002 [offline] [?/?] <engine: ?> <API: ?>",
            "",
        )
    )


async def test_node_list_without_nodes_is_an_empty_line(cluster: Cluster) -> None:
    assert await cluster.tell(NodeList()) == Lines(("",))


async def test_node_info_tells_all_but_the_token(cluster: Cluster) -> None:
    node = await cluster.add(ALPHA)
    cluster.nodes.seen[node.id] = replace(cluster.nodes.seen[node.id], in_flight=2, error="timed out")
    assert await cluster.document(NodeInfo(1)) == {
        "hostname": "alpha",
        "port": 3001,
        "token": "***",
        "locked": False,
        "info": {
            "version": "2.2.4",
            "taskQueueCount": 0,
            "totalMemory": None,
            "availableMemory": None,
            "cpuCores": None,
            "maxImages": None,
            "maxParallelTasks": 1,
            "engineVersion": None,
            "engine": "odm",
        },
        "lastRefreshed": 1_700_000_000_000,
        "health": "up",
        "error": "timed out",
        "inFlight": 2,
    }


async def test_node_info_of_a_node_without_token_that_never_answered(cluster: Cluster) -> None:
    await cluster.tell(NodeAdd(ALPHA, Token("")))
    document = await cluster.document(NodeInfo(1))
    assert isinstance(document, dict)
    assert (document["token"], document["info"], document["lastRefreshed"]) == ("", {}, 0)


async def test_the_best_node_is_always_number_one_and_equals_take_turns(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.add(BETA)
    replies = [await cluster.tell(NodeBest(10)) for _ in range(3)]
    assert [reply.lines[0].split(" [")[0] for reply in replies if isinstance(reply, Lines)] == [
        "1) alpha:3001",
        "1) beta:3002",
        "1) alpha:3001",
    ]


async def test_no_node_is_best_for_more_images_than_any_takes(cluster: Cluster) -> None:
    await cluster.add(ALPHA, info=replace(INFO, max_images=10))
    assert await cluster.tell(NodeBest(11)) == Lines(("No best node available",))


# -- routes -----------------------------------------------------------------------------------------------------------

ROUTE: Final[Json] = {
    "node": {"hostname": "alpha", "port": 3001, "token": "***", "locked": False},
    "token": "***",
    "accessed": 1_700_000_000_000,
}


async def test_route_info_tells_the_node_but_no_token(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA)
    assert await cluster.document(RouteInfo(ID)) == ROUTE


async def test_a_route_made_without_token_has_none(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA, owner="")
    document = await cluster.document(RouteInfo(ID))
    assert isinstance(document, dict)
    assert "token" not in document


async def test_route_list_has_a_route_per_task_on_a_node(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.add(BETA)
    await cluster.route(ID, ALPHA)
    await cluster.route(OTHER, BETA)
    both = await cluster.document(RouteList())
    assert isinstance(both, dict)
    assert list(both) == [ID, OTHER]
    assert await cluster.document(RouteList(1)) == {ID: ROUTE}


async def test_without_tasks_lists_are_empty(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    assert await cluster.document(RouteList()) == await cluster.document(RouteList(1)) == {}
    assert await cluster.document(TaskList()) == await cluster.document(TaskList(1)) == []


@pytest.mark.parametrize(
    ("state", "address"),
    [
        (TaskState.QUEUED, None),
        (TaskState.PUSHING, ALPHA),
        (TaskState.COMMITTING, ALPHA),
        (TaskState.FAILED, None),
        (TaskState.ON_NODE, BETA),  # not registered any more
    ],
)
async def test_what_no_registered_node_has_is_no_route(
    cluster: Cluster, state: TaskState, address: Address | None
) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, address, state=state)
    for question in (RouteInfo(ID), TaskInfo(ID), TaskOutput(ID)):
        assert await cluster.tell(question) == Invalid()
    assert await cluster.document(RouteList()) == {}
    assert await cluster.document(TaskList()) == []


@pytest.mark.parametrize("state", [TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELED])
async def test_a_task_that_ended_on_a_node_is_still_a_route(cluster: Cluster, state: TaskState) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA, state=state)
    assert await cluster.document(RouteInfo(ID)) == ROUTE


# -- tasks ------------------------------------------------------------------------------------------------------------


async def test_task_info_is_the_nodes_answer(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA)
    cluster.nodes.tasks[ID] = {"uuid": ID, "new": "key"}
    assert await cluster.document(TaskInfo(ID)) == {"uuid": ID, "new": "key"}
    assert cluster.nodes.asked == [("alpha:3001", ID)]


async def test_task_info_shows_a_nodes_error(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA)
    assert await cluster.document(TaskInfo(ID)) == {"error": f"{ID} not found"}


async def test_while_its_node_is_away_task_info_is_the_last_word_known(cluster: Cluster) -> None:
    cluster.nodes.away = {(await cluster.add(ALPHA)).id}
    task = await cluster.route(ID, ALPHA)
    assert await cluster.document(TaskInfo(ID)) == {"error": "alpha:3001 does not answer."}
    await cluster.reported(task, {"uuid": ID, "progress": 42})
    document = await cluster.document(TaskInfo(ID))
    assert isinstance(document, dict)
    assert (document["uuid"], document["progress"]) == (ID, 42)


async def test_task_list_omits_what_nodes_do_not_know(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.add(BETA)
    await cluster.route(ID, ALPHA)
    await cluster.route(OTHER, BETA)
    cluster.nodes.tasks[OTHER] = {"uuid": OTHER}
    assert await cluster.document(TaskList()) == [{"uuid": OTHER}]
    assert await cluster.document(TaskList(1)) == []
    assert await cluster.document(TaskList(2)) == [{"uuid": OTHER}]


async def test_task_list_does_not_wait_for_a_node_that_is_down(cluster: Cluster) -> None:
    await cluster.add(ALPHA, health=Health.DOWN)
    await cluster.route(OTHER, ALPHA)
    await cluster.reported(await cluster.route(ID, ALPHA), {"uuid": ID, "progress": 42})
    listed = await cluster.document(TaskList())
    assert isinstance(listed, list)
    assert [entry["progress"] for entry in listed if isinstance(entry, dict)] == [42]
    assert cluster.nodes.asked == []


async def test_a_long_task_list_does_not_flood_the_nodes(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    for number in range(100):
        task = await cluster.route(TaskId(f"task-{number}"), ALPHA)
        cluster.nodes.tasks[task.id] = {"uuid": task.id}
    assert await cluster.document(TaskList()) == [{"uuid": f"task-{number}"} for number in range(100)]
    assert 1 < cluster.nodes.busiest <= 16


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (0, ("ours", "one", "two", "three")),
        (1, ("one", "two", "three")),
        (3, ("three",)),
        (-2, ("two", "three")),
        (99, ()),
    ],
)
async def test_task_output_is_numbered_as_clients_number_it(
    cluster: Cluster, line: int, lines: tuple[str, ...]
) -> None:
    await cluster.add(ALPHA)
    task = await cluster.route(ID, ALPHA)
    await cluster.store.tasks.save(replace(task, lines=("ours",)))
    cluster.nodes.outputs[ID] = ["one", "two", "three"]
    assert await cluster.tell(TaskOutput(ID, line)) == Lines(lines)


async def test_task_output_that_cannot_be_had_is_an_error_object(cluster: Cluster) -> None:
    node = await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA)
    assert await cluster.document(TaskOutput(ID)) == {"error": f"{ID} not found"}
    cluster.nodes.away = {node.id}
    assert await cluster.document(TaskOutput(ID)) == {"error": "alpha:3001 does not answer."}


@pytest.mark.parametrize("state", [TaskState.ON_NODE, TaskState.QUEUED, TaskState.FINISHED])
async def test_tasks_are_canceled_and_removed_wherever_they_are(cluster: Cluster, state: TaskState) -> None:
    await cluster.route(ID, None, state=state)
    assert await cluster.document(TaskCancel(ID)) == {"success": True}
    assert await cluster.document(TaskRemove(ID)) == {"success": True}
    assert cluster.verbs.done == [("cancel", ID), ("remove", ID)]


async def test_no_verb_knows_an_unknown_task(cluster: Cluster) -> None:
    for command in (RouteInfo(ID), TaskInfo(ID), TaskOutput(ID), TaskCancel(ID), TaskRemove(ID)):
        assert await cluster.tell(command) == Invalid()


async def test_a_cancel_that_its_node_does_not_answer_is_an_error_object(cluster: Cluster) -> None:
    await cluster.route(ID, ALPHA)
    cluster.verbs.trouble = Unreachable("alpha:3001 does not answer.")
    assert await cluster.document(TaskCancel(ID)) == {"error": "alpha:3001 does not answer."}


async def test_a_record_changed_meanwhile_fails(cluster: Cluster) -> None:
    await cluster.route(ID, ALPHA)
    cluster.verbs.trouble = Stale("The task was changed meanwhile, try again.")
    assert await cluster.tell(TaskRemove(ID)) == Fail("The task was changed meanwhile, try again.")


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_help_is_answered_and_there_is_no_autoscaler(cluster: Cluster) -> None:
    assert await cluster.tell(Help()) == HELP
    assert await cluster.tell(AsrViewCmd(10)) == Invalid()


async def test_no_reply_holds_a_node_token(cluster: Cluster) -> None:
    await cluster.add(ALPHA)
    await cluster.route(ID, ALPHA)
    questions: list[Command] = [
        NodeAdd(ALPHA, Token(SECRET)),
        NodeInfo(1),
        NodeList(),
        NodeBest(1),
        RouteInfo(ID),
        RouteList(),
        TaskList(),
        TaskInfo(ID),
    ]
    for question in questions:
        assert SECRET not in repr(await cluster.tell(question))
