from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.output import join_lines, node_line, slice_start

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


@pytest.mark.parametrize(("text", "asked"), [(None, 0), ("1", 0), ("2", 0), ("5", 3), ("-3", -3)])
def test_the_node_is_asked_for_no_more_than_needed(text: str | None, asked: int) -> None:
    assert node_line(text, 2) == asked


def test_without_a_node_our_own_lines_are_sliced() -> None:
    assert join_lines(("a", "b", "c"), (), "-2") == ["b", "c"]
    assert join_lines(("a", "b", "c"), (), "7") == []
