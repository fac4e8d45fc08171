"""Transition tables: which states a task may move between, and how a node's health moves with its polls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from clusterodm_py.core.types import ENDED, Health, Task, TaskState, TaskStatus

_S = TaskState

TASK_MOVES: Final[Mapping[TaskState, frozenset[TaskState]]] = MappingProxyType(
    {
        _S.SPOOLING: frozenset({_S.QUEUED}),
        _S.QUEUED: frozenset({_S.PUSHING, _S.FAILED, _S.CANCELED}),
        _S.PUSHING: frozenset({_S.COMMITTING, _S.ON_NODE, _S.QUEUED, _S.FAILED, _S.CANCELED}),
        _S.COMMITTING: frozenset({_S.ON_NODE, _S.QUEUED, _S.FAILED, _S.CANCELED}),
        _S.ON_NODE: frozenset({_S.FINISHED, _S.FAILED, _S.CANCELED, _S.QUEUED}),
        # Restarted: on its node, or again from our spool when no node ever had it.
        _S.FINISHED: frozenset({_S.ON_NODE, _S.CANCELED}),
        _S.FAILED: frozenset({_S.ON_NODE, _S.QUEUED, _S.CANCELED}),
        _S.CANCELED: frozenset({_S.ON_NODE, _S.QUEUED, _S.FINISHED, _S.FAILED}),
    }
)
"""From each state, the states it may move to. PUSHING → ON_NODE is a node found to have the task already;
ended → ended covers a client that cancels a finished task, which NodeODM grants (contract §1.15)."""

ENDED_AS: Final[Mapping[TaskStatus, TaskState]] = MappingProxyType(
    {
        TaskStatus.COMPLETED: _S.FINISHED,
        TaskStatus.FAILED: _S.FAILED,
        TaskStatus.CANCELED: _S.CANCELED,
    }
)


def may_move(source: TaskState, target: TaskState) -> bool:
    """Whether a task may go from `source` to `target`; staying is always allowed."""
    return source is target or target in TASK_MOVES[source]


def state_on_node(status: TaskStatus) -> TaskState:
    """The state of a task that its node reports with `status`."""
    return ENDED_AS.get(status, _S.ON_NODE)


def public_status(task: Task) -> TaskStatus:
    """The status code clients see.

    What we hold shows 20 until it is known that it must wait (C37), and then 10. ODM's split-merge client takes 10 as
    "limit reached" and pulls the task back (contract §11.2), so the scheduler does not call its tasks waiting.
    """
    match task.state:
        case TaskState.FINISHED:
            return TaskStatus.COMPLETED
        case TaskState.FAILED:
            return TaskStatus.FAILED
        case TaskState.CANCELED:
            return TaskStatus.CANCELED
        case TaskState.QUEUED if task.waiting:
            return TaskStatus.QUEUED
        case TaskState.ON_NODE if task.report and task.report.status is TaskStatus.QUEUED:
            return TaskStatus.QUEUED
        case _:
            return TaskStatus.RUNNING


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How many polls in a row a node may miss before it is called down."""

    misses_to_down: int = 3


def node_health(health: Health, misses: int, answered: bool, policy: HealthPolicy) -> tuple[Health, int]:
    """The health after one more poll, and the misses in a row.

    One answer is enough to be up; a node that was up must miss `misses_to_down` polls in a row to be down, since
    ClusterODM's "offline after one lost reply" is what users complain of (demand c4). A node that never answered
    is down at its first miss.
    """
    if answered:
        return Health.UP, 0
    misses += 1
    if health in (Health.UNKNOWN, Health.DOWN) or misses >= policy.misses_to_down:
        return Health.DOWN, misses
    return Health.SHAKY, misses


def diagram() -> str:
    """The task's states as a mermaid diagram, for the documentation."""
    arrows = [
        f"    {source.value} --> {target.value}"
        for source in TaskState
        for target in sorted(TASK_MOVES[source])
    ]
    ends = [f"    {state.value} --> [*]" for state in TaskState if state in ENDED]
    return "\n".join(["stateDiagram-v2", "    [*] --> spooling", *arrows, *ends])
