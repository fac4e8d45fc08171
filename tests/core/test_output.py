from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.output import answered_from, join_lines, node_line, parse_lines, slice_start
from clusterodm_py.core.types import Json

TEXTS = st.one_of(st.none(), st.integers(-15, 15).map(str), st.text(max_size=6))


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("-0", 0),
        ("3", 3),
        ("+3", 3),
        (" 3", 3),
        ("3.9", 3),
        ("3abc", 3),
        ("10", 10),
        ("11", 10),
        ("99999", 10),
        ("9" * 10_000, 10),
        ("-1", 9),
        ("-3", 7),
        ("-10", 0),
        ("-11", 0),
        ("-" + "9" * 10_000, 0),
        ("abc", 0),
        ("--3", 0),
        ("٣", 0),
        ("0x10", 0),
    ],
)
def test_a_slice_starts_where_javascript_starts_it(text: str | None, start: int) -> None:
    assert slice_start(text, 10) == start


@given(TEXTS, st.integers(0, 20))
def test_a_start_is_always_within_the_output(text: str | None, length: int) -> None:
    assert 0 <= slice_start(text, length) <= length


@given(TEXTS, st.integers(0, 8), st.integers(0, 8))
def test_two_outputs_are_sliced_as_one(text: str | None, ours: int, theirs: int) -> None:
    own = [f"own {number}" for number in range(ours)]
    node = [f"node {number}" for number in range(theirs)]
    both = own + node

    asked = str(node_line(text, ours))
    answered = node[slice_start(asked, theirs) :]

    assert join_lines(own, answered, text) == both[slice_start(text, ours + theirs) :]


@given(TEXTS, st.integers(0, 8), st.integers(0, 8))
def test_the_number_of_an_answered_line_is_its_own_or_unknown(
    text: str | None, ours: int, theirs: int
) -> None:
    node = [f"node {number}" for number in range(theirs)]
    answered = node[slice_start(str(node_line(text, ours)), theirs) :]
    first = answered_from(text, ours, len(answered))
    if first is None:
        assert node_line(text, ours) < 0
    elif answered:
        assert node[first : first + len(answered)] == answered


def test_a_short_answer_to_a_negative_line_is_the_whole_output() -> None:
    assert answered_from("-5", 2, 3) == 0
    assert answered_from("-3", 2, 3) is None


@pytest.mark.parametrize(("text", "asked"), [(None, 0), ("1", 0), ("2", 0), ("5", 3), ("-3", -3)])
def test_the_node_is_asked_for_no_more_than_needed(text: str | None, asked: int) -> None:
    assert node_line(text, 2) == asked


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", 7, None], ["a", "7", "null"]),
        (None, None),
        ("a", None),
        ({}, None),
    ],
)
def test_lines_are_texts_whatever_the_node_sends(output: Json, lines: list[str] | None) -> None:
    assert parse_lines(output) == lines
