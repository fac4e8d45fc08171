from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.options import (
    filter_options,
    limited_specs,
    options_text,
    parse_specs,
    parse_user_options,
    specs_json,
)
from clusterodm_py.core.types import Json, Limits, OptionSpec, OptionValue

NO_LIMITS = Limits()


def spec(name: str, kind: str = "int", domain: str | tuple[str, ...] = "", value: str = "") -> OptionSpec:
    return OptionSpec(name=name, type=kind, value=value, domain=domain, help="")


SPECS = (
    spec("dsm", "bool", value="false"),
    spec("split", "int", "positive integer", "999999"),
    spec("sm-cluster", "string", "string"),
    spec("max-concurrency", "int", "positive integer", "4"),
    spec("mesh-size", "int", "positive integer", "200000"),
    spec("crop", "float", "positive float", "3"),
    spec("feature-type", "enum", ("sift", "orb"), "sift"),
    spec("boundary", "string", "json"),
    spec("pc-quality", "int", "", "5"),
)


def options(**values: Json) -> tuple[OptionValue, ...]:
    return tuple(OptionValue(name.replace("_", "-"), value) for name, value in values.items())


def limits_of(**limits: Json) -> Limits:
    return parse_limits({"options": {name.replace("_", "-"): limit for name, limit in limits.items()}})


def pairs(values: Sequence[OptionValue]) -> list[tuple[str, Json]]:
    return [(option.name, option.value) for option in values]


def filtered(name: str, kind: str, domain: str | tuple[str, ...], value: Json) -> str:
    return json.dumps(filter_options([OptionValue(name, value)], [spec(name, kind, domain)])[0].value)


def faults(user: Sequence[OptionValue], specs: Sequence[OptionSpec] = SPECS) -> list[dict[str, str]]:
    with pytest.raises(BadRequest) as refusal:
        filter_options(user, specs)
    listed: list[dict[str, str]] = json.loads(str(refusal.value))
    return listed


# /options as nodes write it and as we serve it (§3.1)


def test_a_nodes_options_come_back_exactly_as_it_wrote_them() -> None:
    reply: Json = [
        {"name": "dsm", "type": "bool", "value": "false", "domain": "", "help": "Use %(default)s"},
        {"name": "feature-type", "type": "enum", "value": "sift", "domain": ["sift", "orb"], "help": ""},
    ]
    assert specs_json(parse_specs(reply)) == reply


@pytest.mark.parametrize(
    ("value", "served"),
    [(True, "true"), (False, "false"), (5, "5"), (5.0, "5"), (0.5, "0.5"), (None, ""), ("x", "x"), ("", "")],
)
def test_default_values_are_always_text(value: Json, served: str) -> None:
    assert specs_json(parse_specs([{"name": "a", "value": value}]))[0]["value"] == served


def test_missing_keys_are_empty_and_extra_ones_are_dropped() -> None:
    served = specs_json(parse_specs([{"name": "a", "extra": 1}]))
    assert served == [{"name": "a", "type": "", "value": "", "domain": "", "help": ""}]


def test_entries_without_a_name_are_dropped() -> None:
    assert parse_specs([{"type": "int"}, {"name": ""}, {"name": 5}, "dsm", None]) == ()


@pytest.mark.parametrize("reply", [None, {}, {"error": "no"}, "text", 5])
def test_a_reply_that_is_no_list_has_no_options(reply: Json) -> None:
    assert parse_specs(reply) == ()


# Limits on /options (§3.4)


def test_without_option_limits_the_options_stay_as_they_are() -> None:
    assert limited_specs(SPECS, NO_LIMITS) == SPECS
    assert limited_specs(SPECS, parse_limits({"options": None})) == SPECS


def test_any_option_limits_even_none_hide_max_concurrency() -> None:
    visible = tuple(each for each in SPECS if each.name != "max-concurrency")
    assert limited_specs(SPECS, Limits(options=())) == visible
    assert limited_specs(SPECS, limits_of(max_concurrency={"value": "1"})) == visible


def test_a_removed_option_is_gone() -> None:
    names = [each.name for each in limited_specs(SPECS, limits_of(dsm={"remove": True}, crop={}))]
    assert "dsm" not in names
    assert "crop" in names


def test_a_limit_replaces_domain_and_default_and_nothing_else() -> None:
    limits = limits_of(split={"domain": "integer: 1 <= x <= 9", "value": 5})
    assert [each for each in limited_specs(SPECS, limits) if each.name == "split"] == [
        spec("split", "int", "integer: 1 <= x <= 9", "5")
    ]


def test_a_limit_may_offer_a_choice_of_numbers() -> None:
    (limited,) = limited_specs([spec("split")], limits_of(split={"domain": [5, 10]}))
    assert pairs(filter_options(options(split="10"), [limited])) == [("split", 10)]
    assert faults(options(split="7"), [limited]) == [
        {"name": "split", "error": "Invalid value 7 (not in enum)"}
    ]


def test_a_null_domain_lifts_the_check() -> None:
    (limited,) = limited_specs([spec("split", "int", "positive integer")], limits_of(split={"domain": None}))
    assert pairs(filter_options(options(split=-1), [limited])) == [("split", -1)]


def test_a_limit_never_adds_an_option() -> None:
    assert limited_specs([], limits_of(crop={"value": "1", "assure": True})) == ()


# What the client sends (§3.3 step 1)


def test_user_options_keep_their_order_their_types_and_their_repetitions() -> None:
    source = '[{"name":"b","value":"x"},{"name":"a","value":5},{"name":"b","value":true},{"name":"c"}]'
    assert pairs(parse_user_options(source)) == [("b", "x"), ("a", 5), ("b", True), ("c", None)]


@pytest.mark.parametrize("source", ["", "  ", "null", "{}", '{"dsm":true}', "5", '"text"', "true", "[]"])
def test_anything_but_an_array_is_no_options(source: str) -> None:
    assert parse_user_options(source) == ()


def test_array_entries_without_a_name_are_ignored() -> None:
    assert pairs(parse_user_options('[5, null, [], {}, {"name":5}, {"name":"a","value":1}]')) == [("a", 1)]


@pytest.mark.parametrize("source", ["{", "dsm=true", "[NaN]", "[1e999]", "[" * 100_000, "9" * 5000])
def test_options_that_are_not_json_are_refused_with_a_reason(source: str) -> None:
    with pytest.raises(BadRequest, match=r"^The options are not valid JSON: .{3,100}$"):
        parse_user_options(source)


@given(st.text() | st.text('[]{}",:0123456789.eEnaultr\\ -'))
def test_no_options_text_raises_anything_but_bad_request(source: str) -> None:
    with suppress(BadRequest):
        filter_options(parse_user_options(source), SPECS)


# Conversion and checks (§3.3 steps 2 to 6)


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [
        ("int", 5, "5"),
        ("int", "5", "5"),
        ("int", "5abc", "5"),
        ("int", "0x10", "16"),
        ("int", "5.9", "5"),
        ("int", "abc", "null"),
        ("int", True, "null"),
        ("float", "0.50", "0.5"),
        ("float", 5.0, "5"),
        ("float", "5.0", "5"),
        ("float", "1e3", "1000"),
        ("float", "x", "null"),
        ("float", "1e999", "null"),
        ("bool", True, "true"),
        ("bool", "true", "true"),
        ("bool", "1", "true"),
        ("bool", False, "false"),
        ("bool", "false", "false"),
        ("bool", "0", "false"),
        ("string", "x", '"x"'),
        ("string", 5, "5"),
        ("string", math.nan, "null"),
        ("path", "/x", '"/x"'),
        ("enum", "x", '"x"'),
    ],
)
def test_values_are_converted_to_their_type(kind: str, value: Json, sent: str) -> None:
    assert filtered("an-option", kind, "", value) == sent


@pytest.mark.parametrize("value", [1, 0, 1.0, "yes", "True", "", None, [], {}])
def test_what_is_no_boolean_is_an_error(value: Json) -> None:
    shown = value if isinstance(value, str) else json.dumps(value).replace("1.0", "1")
    assert faults([OptionValue("dsm", value)]) == [
        {"name": "dsm", "error": f"Cannot convert {shown} to boolean"}
    ]


def test_an_unknown_type_is_an_error() -> None:
    (fault,) = faults(options(a=1), [spec("a", "list")])
    assert fault["name"] == "a"
    assert "'list'" in fault["error"]


def test_what_is_no_number_fails_a_numeric_domain() -> None:
    assert faults(options(split="abc")) == [{"name": "split", "error": "Invalid value NaN (out of range)"}]


def test_all_errors_are_listed_in_the_order_of_the_specs() -> None:
    listed = faults(options(feature_type="surf", dsm="maybe", split="5", crop=-1, unknown=1))
    assert listed == [
        {"name": "dsm", "error": "Cannot convert maybe to boolean"},
        {"name": "crop", "error": "Invalid value -1 (out of range)"},
        {"name": "feature-type", "error": "Invalid value surf (not in enum)"},
    ]


def test_the_result_has_the_order_of_the_specs_and_unknown_options_are_dropped() -> None:
    user = options(crop="2.5", nonsense=1, split="5", dsm="true")
    assert pairs(filter_options(user, SPECS)) == [("dsm", True), ("split", 5), ("crop", 2.5)]


def test_of_an_option_given_twice_the_first_counts() -> None:
    assert pairs(filter_options([*options(split=1), *options(split="bad")], SPECS)) == [("split", 1)]


def test_a_json_option_is_passed_on_as_text() -> None:
    assert pairs(filter_options(options(boundary='{"a": 1}'), SPECS)) == [("boundary", '{"a": 1}')]
    assert faults(options(boundary="{"))[0]["name"] == "boundary"


def test_a_node_reads_typed_values() -> None:
    sent = options_text(filter_options(options(dsm="true", split="5", crop="1.0"), SPECS))
    assert sent == '[{"name":"dsm","value":true},{"name":"split","value":5},{"name":"crop","value":1}]'
    assert options_text(()) == "[]"


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
PLAUSIBLE = st.sampled_from(
    ["true", "1", "0", "5", "5abc", "0x10", "0.5", "sift", "{}", "abc", "1e400", "-1"]
)
VALUE = PLAUSIBLE | SCALAR | st.lists(SCALAR, max_size=2)
NAME = st.sampled_from([each.name for each in SPECS] + ["unknown", ""])
USER = st.lists(st.builds(OptionValue, NAME, VALUE), max_size=6).map(tuple)


@given(USER)
def test_filtering_twice_changes_nothing_more(user: tuple[OptionValue, ...]) -> None:
    specs = [*SPECS, spec("unknown", "float"), spec("", "path")]
    passing = [each for each in user if not _refused(each, specs)]
    once = filter_options(passing, specs)
    assert filter_options(once, specs) == once
    assert parse_user_options(options_text(once)) == once


@given(USER)
def test_filtering_never_invents_an_option_and_keeps_the_order_of_the_specs(
    user: tuple[OptionValue, ...],
) -> None:
    passing = [each for each in user if not _refused(each, SPECS)]
    names = [each.name for each in filter_options(passing, SPECS)]
    assert names == [each.name for each in SPECS if each.name in {option.name for option in passing}]


@given(USER)
def test_the_faults_listed_are_those_that_each_option_has_alone(user: tuple[OptionValue, ...]) -> None:
    first = {option.name: option for option in reversed(user)}
    faulty = [each.name for each in SPECS if each.name in first and _refused(first[each.name], SPECS)]
    if faulty:
        assert [fault["name"] for fault in faults(user)] == faulty
    else:
        filter_options(user, SPECS)


def _refused(option: OptionValue, specs: Sequence[OptionSpec]) -> bool:
    try:
        filter_options([option], specs)
    except BadRequest:
        return True
    return False
