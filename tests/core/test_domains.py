from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.domains import (
    leading_float,
    leading_int,
    objection,
    parse_json,
    text,
    to_number,
    whole,
)
from clusterodm_py.core.types import Json, OptionSpec

NAN = math.nan

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def spec(domain: str | tuple[str, ...], kind: str = "int") -> OptionSpec:
    return OptionSpec(name="an-option", type=kind, value="", domain=domain, help="")


def same(one: float, other: float) -> bool:
    return repr(one) == repr(other)


@pytest.mark.parametrize(
    ("domain", "admitted", "refused"),
    [
        ("", [NAN, 1, "x", None], []),
        ("positive integer", [0, 1, 1.5], [-1, NAN]),
        ("positive float", [0, 0.5], [-0.5, NAN]),
        ("negative integer", [0, -1, -1.5], [1, NAN]),
        ("negative float", [0, -0.5], [0.5, NAN]),
        ("integer", [0, -7, 3.0], [0.5, NAN, "3", True]),
        ("float", [0, -0.5, 10**400], [NAN, math.inf, "0.5"]),
        ("percent", [0, 100, 0.5], [-1, 100.5, NAN]),
        ("float: 0.5 <= x <= 1.5", [0.5, 1, 1.5], [0.49, 1.51, NAN]),
        ("float: -1 <= x <= +1", [-1, 0, 1], [-1.1, 1.1]),
        ("integer: 1.9 <= x <= 3.9", [1, 3], [0, 3.5, 4, NAN]),
        ("integer: 1 <= x <= -", [], [0, 1, NAN]),
        ("integer >= 3", [3, 4], [2, NAN]),
        ("integer > 3", [4], [3, NAN]),
        ("float <= 2.5", [2.5, -9], [2.6, NAN]),
        ("float < 2.5", [2.4], [2.5, NAN]),
        ("float > 2.5", [2.6], [2.5, NAN]),
        ("float >= 2.5", [2.5], [2.4, NAN]),
        ("json", ['{"a": 1}', "[]", "1"], ["{", "", 1, NAN, None, "NaN"]),
        ("string", ["", "x", 5, NAN], []),
        ("path", ["", "/x", 5, NAN], []),
    ],
)
def test_every_form_of_the_grammar_admits_what_it_says(
    domain: str, admitted: list[Json], refused: list[Json]
) -> None:
    assert [value for value in admitted if objection(spec(domain), value)] == []
    assert [value for value in refused if not objection(spec(domain), value)] == []


def test_a_value_outside_its_range_is_named_as_it_was_read() -> None:
    assert objection(spec("positive integer"), -1) == "Invalid value -1 (out of range)"
    assert objection(spec("positive integer"), NAN) == "Invalid value NaN (out of range)"
    assert objection(spec("float < 1"), 5.0) == "Invalid value 5 (out of range)"


def test_a_choice_is_compared_strictly() -> None:
    choices = spec(("brown", "1"), "enum")
    assert objection(choices, "brown") is None
    assert objection(choices, "Brown") == "Invalid value Brown (not in enum)"
    assert objection(choices, "bro") == "Invalid value bro (not in enum)"
    assert objection(choices, 1) == "Invalid value 1 (not in enum)"
    assert objection(choices, True) == "Invalid value true (not in enum)"


def test_a_choice_of_numbers_is_compared_with_the_number() -> None:
    assert objection(spec(("1", "2.5")), 1) is None
    assert objection(spec(("1", "2.5"), "float"), 2.5) is None
    assert objection(spec(("1", "2.5")), 2) == "Invalid value 2 (not in enum)"
    assert objection(spec(("true",), "bool"), True) is None
    assert objection(spec(("true",), "bool"), False) == "Invalid value false (not in enum)"


def test_an_empty_choice_admits_nothing() -> None:
    assert objection(spec(()), 1) is not None


@pytest.mark.parametrize(
    "domain",
    [
        "positive",
        "percentage",
        "positive percent",
        " integer",
        "integer\n",
        "integer:",
        "integer => 3",
        "integer > three",
        "float: 1 <= x",
        "float: 1 < x < 2",
        "string: 1 <= x <= 2",
        "x > 3",
    ],
)
def test_a_domain_outside_the_grammar_is_an_error_that_quotes_it(domain: str) -> None:
    assert objection(spec(domain), 5) == f"Domain value cannot be handled: '{domain}' : '5'"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("5", 5),
        ("5abc", 5),
        (" \t-5", -5),
        ("+5", 5),
        ("5.9", 5),
        ("1e6", 1),
        ("0x10", 16),
        ("-0X1f", -31),
        ("010", 10),
        ("0x", NAN),
        ("abc", NAN),
        ("", NAN),
        ("- 5", NAN),
        ("٣", NAN),
        ("9" * 5000, NAN),
        (5, 5),
        (5.9, 5),
        (-5.9, -5),
        (10**400, 10**400),
        (NAN, NAN),
        (math.inf, NAN),
        (True, NAN),
        (None, NAN),
        ([5], NAN),
    ],
)
def test_an_integer_is_what_the_value_begins_with(value: Json, number: float) -> None:
    assert same(leading_int(value), number)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("0.5", 0.5),
        (".5m", 0.5),
        ("5.", 5),
        ("-1.50.2", -1.5),
        ("1e3x", 1000),
        ("1e", 1),
        ("0x10", 0),
        ("abc", NAN),
        ("", NAN),
        (".", NAN),
        ("Infinity", NAN),
        ("1e999", NAN),
        (5.0, 5),
        (0.1, 0.1),
        (math.inf, NAN),
        (False, NAN),
        (None, NAN),
    ],
)
def test_a_float_is_what_the_value_begins_with(value: Json, number: float) -> None:
    assert same(leading_float(value), number)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("5", 5),
        (" 5.5 ", 5.5),
        ("5abc", NAN),
        ("", 0),
        (" ", 0),
        (None, 0),
        (True, 1),
        (False, 0),
        ("1_0", NAN),
        (7, 7),
        ([], NAN),
        ({}, NAN),
    ],
)
def test_in_a_comparison_all_of_the_value_must_be_a_number(value: Json, number: float) -> None:
    assert same(to_number(value), number)


def test_integral_floats_print_without_a_fraction() -> None:
    assert repr(whole(5.0)) == "5"
    assert repr(whole(-0.0)) == "0"
    assert repr(whole(5.5)) == "5.5"
    assert repr(whole(1e300)) == "1e+300"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a", "a"), (True, "true"), (None, "null"), (5.0, "5"), (0.5, "0.5"), (NAN, "NaN"), ([1], "[1]")],
)
def test_values_are_shown_as_their_json(value: Json, shown: str) -> None:
    assert text(value) == shown


@pytest.mark.parametrize(
    "source", ["", "{", "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 100_000, "[1,]", "'a'"]
)
def test_what_is_not_strict_json_is_a_value_error(source: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(source)


def test_integral_numbers_in_json_are_read_as_integers() -> None:
    assert repr(parse_json("[5, 5.0, 5e0, 0.5]")) == "[5, 5, 5, 0.5]"


@given(JSON, st.sampled_from(["int", "bool", "enum"]), st.text() | st.lists(st.text()).map(tuple))
def test_no_value_and_no_domain_raises(value: Json, kind: str, domain: str | tuple[str, ...]) -> None:
    assert objection(spec(domain, kind), value) != ""


@given(JSON)
def test_numbers_are_read_from_anything_without_raising(value: Json) -> None:
    for number in (leading_int(value), leading_float(value), to_number(value)):
        assert math.isnan(number) or math.isfinite(number)


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_a_range_admits_exactly_what_lies_in_it(low: int, value: int, high: int) -> None:
    fault = objection(spec(f"integer: {low} <= x <= {high}"), value)
    assert (fault is None) == (low <= value <= high)
