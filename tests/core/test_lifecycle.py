from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.lifecycle import (
    ENDED_AS,
    TASK_MOVES,
    HealthPolicy,
    diagram,
    may_move,
    node_health,
    public_status,
    state_on_node,
)
from clusterodm_py.core.types import (
    ACTIVE,
    ENDED,
    IN_FLIGHT,
    NOBODY,
    Health,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
)

STATES = st.sampled_from(TaskState)
POLICIES = st.builds(HealthPolicy, misses_to_down=st.integers(1, 6))
POLLS = st.lists(st.booleans(), max_size=30)


def reachable(start: TaskState) -> set[TaskState]:
    found, frontier = {start}, [start]
    while frontier:
        new = TASK_MOVES[frontier.pop()] - found
        found |= new
        frontier.extend(new)
    return found


def task(state: TaskState, status: TaskStatus | None = None) -> Task:
    report = TaskReport(raw="{}", status=status) if status else None
    return Task(
        id=TaskId("t"), owner=NOBODY, state=state, request=TaskRequest(), created=0, accessed=0, report=report
    )


def health_after(polls: list[bool], policy: HealthPolicy) -> tuple[Health, int]:
    health, misses = Health.UNKNOWN, 0
    for answered in polls:
        health, misses = node_health(health, misses, answered, policy)
    return health, misses


def test_every_state_has_its_moves() -> None:
    assert set(TASK_MOVES) == set(TaskState)


@pytest.mark.parametrize("state", TaskState)
def test_every_state_reaches_every_end(state: TaskState) -> None:
    assert reachable(state) >= ENDED


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(TaskState.SPOOLING) == set(TaskState)


@given(STATES, STATES)
def test_a_move_is_staying_or_in_the_table(source: TaskState, target: TaskState) -> None:
    assert may_move(source, target) == (source is target or target in TASK_MOVES[source])


def test_an_upload_is_never_taken_back_to_its_beginning() -> None:
    assert not any(
        may_move(state, TaskState.SPOOLING) for state in TaskState if state is not TaskState.SPOOLING
    )


def test_only_a_committed_task_leaves_spooling() -> None:
    assert TASK_MOVES[TaskState.SPOOLING] == {TaskState.QUEUED}


def test_a_slot_is_only_taken_from_the_queue() -> None:
    into = {state for state in TaskState if TASK_MOVES[state] & IN_FLIGHT}
    assert into == {TaskState.QUEUED, TaskState.PUSHING}


def test_an_ended_task_is_active_again_only_by_a_restart() -> None:
    for state in ENDED:
        assert TASK_MOVES[state] & ACTIVE <= {TaskState.ON_NODE, TaskState.QUEUED}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (TaskStatus.QUEUED, TaskState.ON_NODE),
        (TaskStatus.RUNNING, TaskState.ON_NODE),
        (TaskStatus.FAILED, TaskState.FAILED),
        (TaskStatus.COMPLETED, TaskState.FINISHED),
        (TaskStatus.CANCELED, TaskState.CANCELED),
    ],
)
def test_a_node_ends_a_task_as_it_says(status: TaskStatus, state: TaskState) -> None:
    assert state_on_node(status) is state
    assert may_move(TaskState.ON_NODE, state)


def test_every_end_of_a_node_is_an_end_of_ours() -> None:
    assert set(ENDED_AS.values()) == ENDED


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (TaskState.SPOOLING, 20),
        (TaskState.QUEUED, 20),
        (TaskState.PUSHING, 20),
        (TaskState.COMMITTING, 20),
        (TaskState.ON_NODE, 20),
        (TaskState.FINISHED, 40),
        (TaskState.FAILED, 30),
        (TaskState.CANCELED, 50),
    ],
)
def test_a_task_shows_its_state(state: TaskState, code: int) -> None:
    assert public_status(task(state)) == code


def test_only_a_nodes_own_queue_shows_as_queued() -> None:
    assert public_status(task(TaskState.ON_NODE, TaskStatus.QUEUED)) is TaskStatus.QUEUED
    for state in set(TaskState) - {TaskState.ON_NODE}:
        assert public_status(task(state, TaskStatus.QUEUED)) is not TaskStatus.QUEUED


@given(STATES, st.sampled_from(TaskStatus))
def test_a_report_never_ends_a_task_before_we_do(state: TaskState, status: TaskStatus) -> None:
    ended = {TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.CANCELED}
    assert (public_status(task(state, status)) in ended) == (state in ENDED)


@pytest.mark.parametrize("health", Health)
def test_one_answer_is_enough_to_be_up(health: Health) -> None:
    assert node_health(health, 7, True, HealthPolicy()) == (Health.UP, 0)


def test_a_node_that_was_up_goes_down_at_its_last_miss() -> None:
    seen = [health_after([True, *[False] * misses], HealthPolicy(misses_to_down=3))[0] for misses in range(5)]
    assert seen == [Health.UP, Health.SHAKY, Health.SHAKY, Health.DOWN, Health.DOWN]


def test_a_node_that_never_answered_is_down_at_once() -> None:
    assert health_after([False], HealthPolicy(misses_to_down=9)) == (Health.DOWN, 1)


@given(POLLS, POLICIES)
def test_health_follows_from_the_misses_since_the_last_answer(
    polls: list[bool], policy: HealthPolicy
) -> None:
    health, misses = health_after(polls, policy)
    since = polls[::-1].index(True) if True in polls else len(polls)
    assert misses == since
    match health:
        case Health.UP:
            assert since == 0
            assert polls
        case Health.SHAKY:
            assert 0 < since < policy.misses_to_down
        case Health.DOWN:
            assert since >= policy.misses_to_down or True not in polls
        case Health.UNKNOWN:
            assert not polls


@given(POLLS, POLICIES)
def test_a_lost_poll_or_two_never_takes_a_node_offline(polls: list[bool], policy: HealthPolicy) -> None:
    forgiven = [False] * (policy.misses_to_down - 1)
    health, _ = health_after([*polls, True, *forgiven], policy)
    assert health in (Health.UP, Health.SHAKY)


def test_a_down_node_stays_down_until_it_answers() -> None:
    policy = replace(HealthPolicy(), misses_to_down=2)
    assert health_after([True, False, False, False], policy) == (Health.DOWN, 3)
    assert health_after([True, False, False, False, True, False], policy) == (Health.SHAKY, 1)


def test_the_diagram_draws_every_move_once() -> None:
    lines = diagram().splitlines()
    drawn = [tuple(line.split(" --> ")) for line in map(str.strip, lines[1:])]
    moves = [(source.value, target.value) for source in TaskState for target in TASK_MOVES[source]]
    ends = [(state.value, "[*]") for state in ENDED]
    assert lines[0] == "stateDiagram-v2"
    assert sorted(drawn) == sorted([("[*]", "spooling"), *moves, *ends])


@pytest.mark.parametrize("page", ["architecture.md", "scheduling.md"])
def test_the_pages_show_the_states_as_they_are(page: str) -> None:
    assert diagram() in (Path(__file__).parents[2] / "docs" / page).read_text()
