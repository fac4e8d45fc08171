"""When a task leaves its node: only for another that is there, only with its images, and not for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.failover import (
    Drop,
    Fail,
    FailoverPolicy,
    Forgotten,
    Move,
    Silence,
    Trouble,
    Verdict,
    Wait,
    decide,
    retry,
)
from clusterodm_py.core.types import NodeId, Task, TaskState, TaskStatus
from harness.engine import a_report, a_task

POLICY = FailoverPolicy(after=100.0, moves=2, retries=1, give_up=1000.0)
PLAIN = a_task(state=TaskState.ON_NODE, node=NodeId("a:1"))
MOVED_OFTEN = replace(PLAIN, moves=2)
GIVEN_UP = replace(PLAIN, recoverable=False)
IMPORTED = replace(PLAIN, committed=None)
HEARD_OF = replace(IMPORTED, report=a_report(TaskStatus.RUNNING))

SECONDS = st.one_of(st.floats(0, 2000), st.sampled_from([25.0, 100.0, 1000.0]))
SILENCES = st.builds(Silence, SECONDS, refused=st.booleans())
TROUBLES: st.SearchStrategy[Trouble] = st.one_of(SILENCES, st.builds(Forgotten, away=st.booleans()))
TASKS = st.builds(
    lambda moves, recoverable, committed, heard: replace(
        PLAIN,
        moves=moves,
        recoverable=recoverable,
        committed=PLAIN.committed if committed else None,
        report=a_report(TaskStatus.RUNNING) if heard else None,
    ),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@pytest.mark.parametrize(
    ("task", "trouble", "images", "elsewhere", "verdict"),
    [
        (PLAIN, Silence(101), True, True, Move),
        (PLAIN, Silence(100), True, True, Wait),
        (PLAIN, Silence(26, refused=True), True, True, Move),
        (PLAIN, Silence(25, refused=True), True, True, Wait),
        (PLAIN, Silence(101), True, False, Wait),
        (PLAIN, Silence(9999), True, False, Wait),
        (PLAIN, Silence(101), False, True, Wait),
        (PLAIN, Silence(1001), False, True, Fail),
        (GIVEN_UP, Silence(1000), True, True, Wait),
        (GIVEN_UP, Silence(1001), True, True, Fail),
        (MOVED_OFTEN, Silence(1000), True, True, Wait),
        (MOVED_OFTEN, Silence(1001), True, True, Fail),
        (IMPORTED, Silence(9999), False, True, Wait),
        (PLAIN, Forgotten(away=True), True, False, Move),
        (PLAIN, Forgotten(away=False), True, True, Fail),
        (PLAIN, Forgotten(away=True), False, True, Fail),
        (GIVEN_UP, Forgotten(away=True), True, True, Fail),
        (MOVED_OFTEN, Forgotten(away=True), True, True, Fail),
        (IMPORTED, Forgotten(away=True), False, True, Drop),
        (HEARD_OF, Forgotten(away=True), False, True, Fail),
    ],
)
def test_the_table(
    task: Task, trouble: Trouble, images: bool, elsewhere: bool, verdict: type[Verdict]
) -> None:
    assert type(decide(task, trouble, POLICY, images=images, elsewhere=elsewhere)) is verdict


@given(TASKS, TROUBLES, st.booleans(), st.booleans())
def test_a_task_moves_only_with_its_images_and_so_often_at_most(
    task: Task, trouble: Trouble, images: bool, elsewhere: bool
) -> None:
    if isinstance(decide(task, trouble, POLICY, images=images, elsewhere=elsewhere), Move):
        assert images
        assert task.recoverable
        assert task.moves < POLICY.moves


@given(TASKS, SILENCES, st.booleans(), st.booleans())
def test_a_task_leaves_a_silent_node_only_for_another_and_not_before_its_time(
    task: Task, silence: Silence, images: bool, elsewhere: bool
) -> None:
    verdict = decide(task, silence, POLICY, images=images, elsewhere=elsewhere)
    assert not isinstance(verdict, Drop)
    if isinstance(verdict, Move):
        assert elsewhere
        assert silence.seconds > (25 if silence.refused else 100)
    if isinstance(verdict, Fail):
        assert silence.seconds > POLICY.give_up


@given(TASKS, st.booleans(), st.booleans(), st.booleans(), SECONDS, SECONDS)
def test_what_is_decided_about_a_silent_node_is_not_taken_back_when_it_stays_silent(
    task: Task, refused: bool, images: bool, elsewhere: bool, one: float, other: float
) -> None:
    sooner, later = sorted((one, other))
    before = decide(task, Silence(sooner, refused), POLICY, images=images, elsewhere=elsewhere)
    after = decide(task, Silence(later, refused), POLICY, images=images, elsewhere=elsewhere)
    assert isinstance(before, Wait) or type(after) is type(before)


@given(TASKS, st.booleans(), st.booleans(), st.booleans())
def test_a_task_that_is_nowhere_does_not_wait(task: Task, away: bool, images: bool, elsewhere: bool) -> None:
    assert not isinstance(decide(task, Forgotten(away), POLICY, images=images, elsewhere=elsewhere), Wait)


@given(TASKS, TROUBLES)
def test_what_is_told_is_one_line(task: Task, trouble: Trouble) -> None:
    match decide(task, trouble, POLICY, images=True, elsewhere=True):
        case Move(reason=text) | Fail(text=text):
            assert text
            assert "\n" not in text


@given(
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.text(),
)
def test_only_a_submodel_runs_again_after_it_failed_and_only_where_it_may_help(
    child: bool, retries: int, most: int, recoverable: bool, images: bool, elsewhere: bool, error: str
) -> None:
    task = replace(PLAIN, child=child, retries=retries, recoverable=recoverable)
    again = retry(task, error, FailoverPolicy(retries=most), images=images, elsewhere=elsewhere)
    assert (again is not None) == (child and retries < most and recoverable and images and elsewhere)


def test_the_line_of_a_second_try_says_why() -> None:
    again = retry(
        replace(PLAIN, child=True),
        "Not enough memory",
        FailoverPolicy(retries=1),
        images=True,
        elsewhere=True,
    )
    assert again is not None
    assert "(Not enough memory)" in again.reason
