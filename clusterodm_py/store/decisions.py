"""The rules of `store.base`, each verb decided on `Tables` as a value. Pure: nothing is changed, nothing awaited."""

from __future__ import annotations

from dataclasses import replace

from clusterodm_py.core.errors import AlreadyThere, Stale
from clusterodm_py.core.lifecycle import may_move
from clusterodm_py.core.limits import check_concurrent
from clusterodm_py.core.types import IN_FLIGHT, Limits, Node, NodeId, Task, TaskId, TaskState
from clusterodm_py.store.tables import (
    AddStray,
    Decision,
    DropNode,
    DropStray,
    DropTask,
    PutNode,
    PutNote,
    PutTask,
    Tables,
    keeping_access,
)


def add_node(tables: Tables, node: Node) -> Decision[None]:
    if node.id in tables.nodes:
        raise AlreadyThere(f"Node {node.id} is registered already")
    return Decision(None, PutNode(node))


def replace_node(tables: Tables, node: Node) -> Decision[None]:
    if node.id not in tables.nodes:
        raise Stale(f"Node {node.id} is not registered any more")
    return Decision(None, PutNode(node))


def remove_node(tables: Tables, node: NodeId) -> Decision[bool]:
    return Decision(True, DropNode(node)) if node in tables.nodes else Decision(False)


def create_task(tables: Tables, task: Task) -> Decision[Task]:
    if task.id in tables.tasks:
        raise AlreadyThere(f"Task {task.id} exists already")
    return _put(replace(task, version=1))


def save_task(tables: Tables, task: Task) -> Decision[Task]:
    old = _current(tables, task)
    if not may_move(old.state, task.state):
        raise ValueError(f"task {task.id} may not move from {old.state} to {task.state}")
    if _takes_slot(old, task):
        raise ValueError(f"task {task.id} may take a slot of {task.node} by reserve only")
    return _put(_next(task, old))


def commit_task(tables: Tables, task: Task, max_concurrent: int | None) -> Decision[Task]:
    old = _expect(_current(tables, task), TaskState.SPOOLING)
    check_concurrent(tables.active(task.owner), Limits(max_concurrent=max_concurrent))
    return _put(replace(_next(task, old), state=TaskState.QUEUED))


def reserve_task(tables: Tables, task: Task, node: NodeId, slots: int | None) -> Decision[Task | None]:
    old = _expect(_current(tables, task), TaskState.QUEUED)
    if slots is not None and tables.in_flight_to(node) >= slots:
        return Decision(None)
    bound = replace(
        _next(task, old),
        state=TaskState.PUSHING,
        node=node,
        touched=task.touched if node in task.touched else (*task.touched, node),
        attempts=task.attempts + 1,
        waiting=False,
    )
    return Decision(bound, PutTask(bound))


def remove_task(tables: Tables, task: TaskId) -> Decision[bool]:
    return Decision(True, DropTask(task)) if task in tables.tasks else Decision(False)


def add_stray(tables: Tables, task: TaskId, node: NodeId) -> Decision[None]:
    return Decision(None, None if (task, node) in tables.strays else AddStray(task, node))


def remove_stray(tables: Tables, task: TaskId, node: NodeId) -> Decision[None]:
    return Decision(None, DropStray(task, node) if (task, node) in tables.strays else None)


def put_note(tables: Tables, key: str, value: str) -> Decision[None]:
    return Decision(None, None if tables.notes.get(key) == value else PutNote(key, value))


def _current(tables: Tables, task: Task) -> Task:
    """The record as it is kept, if `task` is what the caller read of it."""
    old = tables.tasks.get(task.id)
    if old is None:
        raise Stale(f"Task {task.id} is gone")
    if old.version != task.version:
        raise Stale(f"Task {task.id} was changed meanwhile")
    return old


def _expect(old: Task, state: TaskState) -> Task:
    if old.state is not state:
        raise ValueError(f"task {old.id} is {old.state}, not {state}")
    return old


def _takes_slot(old: Task, new: Task) -> bool:
    """Whether one more task would be in flight to the node of `new`."""
    return new.state in IN_FLIGHT and (old.state not in IN_FLIGHT or old.node != new.node)


def _next(task: Task, old: Task) -> Task:
    return keeping_access(replace(task, version=old.version + 1), old)


def _put(task: Task) -> Decision[Task]:
    return Decision(task, PutTask(task))
