from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.options import (
    augment,
    cluster_url,
    filter_options,
    limited_specs,
    parse_user_options,
    refuse_seed,
)
from clusterodm_py.core.types import Between, Json, Limits, OptionLimit, OptionSpec, OptionValue, Token

CLUSTER = "http://h:3000/?token=tok"
NO_LIMITS = Limits()


def spec(name: str, kind: str = "int", domain: str = "positive integer") -> OptionSpec:
    return OptionSpec(name=name, type=kind, value="", domain=domain, help="")


SPECS = (
    spec("dsm", "bool", ""),
    spec("split"),
    spec("sm-cluster", "string", "string"),
    spec("max-concurrency"),
    spec("mesh-size"),
    spec("crop", "float", "positive float"),
)

LIMITS = Limits(
    options=(
        OptionLimit(name="split", between=Between(max_if_equal_to=-1, min=10, max=100)),
        OptionLimit(name="crop", assure=True, value="3"),
        OptionLimit(name="dsm", assure=True, value="true"),
        OptionLimit(name="mesh-size", between=Between(min=1, max=9)),
    )
)

VALUE: st.SearchStrategy[Json] = (
    st.sampled_from(["true", "0", "5", "5abc", "0x10", "0.5", "abc", "1e400", "-1", ""])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.lists(st.integers(), max_size=2)
)
NAME = st.sampled_from([each.name for each in SPECS] + ["unknown", ""])
USER = st.lists(st.builds(OptionValue, NAME, VALUE), max_size=6).map(tuple)


def options(**values: Json) -> tuple[OptionValue, ...]:
    return tuple(OptionValue(name.replace("_", "-"), value) for name, value in values.items())


def limits_of(**limits: Json) -> Limits:
    return parse_limits({"options": {name.replace("_", "-"): limit for name, limit in limits.items()}})


def pairs(values: tuple[OptionValue, ...]) -> list[tuple[str, Json]]:
    return [(option.name, option.value) for option in values]


def augmented(user: tuple[OptionValue, ...], limits: Limits) -> list[tuple[str, Json]]:
    return pairs(augment(user, limits, None, splitmerge=False))


def faults(user: tuple[OptionValue, ...], *specs: OptionSpec) -> list[str]:
    with pytest.raises(BadRequest) as refusal:
        filter_options(user, specs)
    return [f"{fault['name']}: {fault['error']}" for fault in json.loads(str(refusal.value))]


# Split-merge (§3.5 step 2, C72, C74)


def test_split_gets_our_address_at_the_end() -> None:
    user = options(split=5, dsm=True)
    assert pairs(augment(user, NO_LIMITS, CLUSTER, splitmerge=True)) == [
        ("split", 5),
        ("dsm", True),
        ("sm-cluster", CLUSTER),
    ]


def test_a_client_cannot_choose_another_cluster() -> None:
    user = (*options(sm_cluster="http://evil/", dsm=True), *options(sm_cluster="http://worse/"))
    assert pairs(augment(user, NO_LIMITS, CLUSTER, splitmerge=True)) == [
        ("sm-cluster", CLUSTER),
        ("dsm", True),
        ("sm-cluster", CLUSTER),
    ]


def test_without_split_no_cluster_is_added() -> None:
    assert pairs(augment(options(dsm=True), NO_LIMITS, CLUSTER, splitmerge=True)) == [("dsm", True)]


@pytest.mark.parametrize(("url", "splitmerge"), [(CLUSTER, False), (None, True), (None, False)])
def test_with_split_merge_off_only_the_cluster_is_dropped(url: str | None, splitmerge: bool) -> None:
    user = options(split=5, sm_cluster="http://evil/", dsm=True)
    assert pairs(augment(user, NO_LIMITS, url, splitmerge)) == [("split", 5), ("dsm", True)]


@given(USER, st.none() | st.just(CLUSTER), st.booleans())
def test_no_cluster_but_ours_ever_reaches_a_node(
    user: tuple[OptionValue, ...], url: str | None, splitmerge: bool
) -> None:
    result = augment(user, NO_LIMITS, url, splitmerge)
    assert {each.value for each in result if each.name == "sm-cluster"} <= {CLUSTER}
    assert [each for each in result if each.name != "sm-cluster"] == [
        each for each in user if each.name != "sm-cluster"
    ]
    assert augment(result, NO_LIMITS, url, splitmerge) == result


@pytest.mark.parametrize(
    ("base", "token", "url"),
    [
        ("http://h:3000", "tok", "http://h:3000/?token=tok"),
        ("http://h:3000/", "", "http://h:3000/"),
        ("https://cluster.example/some/path?x=1", "abc", "https://cluster.example/?token=abc"),
        ("http://h", "a&b c", "http://h/?token=a%26b%20c"),
    ],
)
def test_the_cluster_is_the_root_of_its_address_with_the_users_token(base: str, token: str, url: str) -> None:
    assert cluster_url(base, Token(token)) == url


def test_a_host_header_that_is_no_host_is_refused() -> None:
    with pytest.raises(BadRequest, match="Nodes could not reach"):
        cluster_url("http://[::1", Token("secret"))


def test_a_submodel_is_refused_only_with_split_merge_off() -> None:
    refuse_seed(["a.jpg", "seed.zip"], splitmerge=True)
    refuse_seed(["a.jpg", "Seed.zip", "seed.zip.jpg"], splitmerge=False)
    with pytest.raises(BadRequest, match=r"^Cannot use this node as a split-merge cluster\.$"):
        refuse_seed(["a.jpg", "seed.zip"], splitmerge=False)


# Limits on what the client asks for (§3.5 step 3, C86)


def test_the_examples_of_the_contract() -> None:
    limits = limits_of(
        split={"between": {"max_if_equal_to": -1, "min": 10, "max": 100}},
        mesh_size={"between": {"min": 1, "max": 9}},
        crop={"assure": True, "value": "3"},
        pc_ept={"assure": True, "value": "true"},
        dsm={"assure": True, "value": True},
    )
    assert augmented(options(split=3, mesh_size=100), limits) == [
        ("split", 10),
        ("mesh-size", 9),
        ("crop", "3"),
        ("pc-ept", "true"),
        ("dsm", True),
    ]


def test_a_given_option_cancels_its_assurance_whatever_its_value() -> None:
    assert augmented(options(crop=""), limits_of(crop={"assure": True, "value": "3"})) == [("crop", "")]


def test_assurance_needs_a_value_and_null_is_one() -> None:
    limits = limits_of(crop={"assure": True}, dsm={"assure": True, "value": None}, split={"value": 5})
    assert augmented((), limits) == [("dsm", None)]


@pytest.mark.parametrize(
    ("value", "between", "result"),
    [
        (3, {"min": 10, "max": 20}, 10),
        ("30", {"min": 10, "max": 20}, 20),
        ("15", {"min": 10, "max": 20}, 15),
        ("15.5", {"min": 10, "max": 20}, 15.5),
        (-1, {"max_if_equal_to": -1, "min": 10, "max": 20}, 20),
        ("-1", {"max_if_equal_to": -1, "min": 10, "max": 20}, 20),
        ("-1", {"max_if_equal_to": -1, "max": 20}, 20),
        ("auto", {"max_if_equal_to": "auto", "max": 20}, 20),
        (True, {"max_if_equal_to": 1, "max": 20}, 20),
        (None, {"max_if_equal_to": 0, "max": 20}, None),
        (None, {"max_if_equal_to": None, "max": 20}, 20),
        (-1, {"max_if_equal_to": -1, "min": 10}, -1),
        (99, {"max": 20}, 99),
        (1, {"min": 10}, 1),
        ("x", {}, "x"),
        (None, {"min": 10, "max": 20}, 10),
        ("", {"min": 10, "max": 20}, 10),
        ("99abc", {"min": 10, "max": 20}, None),
        (1, {"min": 2.0, "max": 3.0}, 2),
    ],
)
def test_between(value: Json, between: Json, result: Json) -> None:
    ((_, bent),) = augmented(options(split=value), limits_of(split={"between": between}))
    assert json.dumps(bent) == json.dumps(result)


def test_a_limit_whose_value_is_the_text_true_switches_the_option_on() -> None:
    limits = limits_of(dsm={"value": "true"}, crop={"value": True}, split={"value": "5"})
    assert augmented(options(dsm="false", crop=1, split=2), limits) == [
        ("dsm", True),
        ("crop", 1),
        ("split", 2),
    ]


def test_options_without_a_limit_are_left_alone() -> None:
    user = options(dsm="x", split=-5)
    assert augmented(user, limits_of(crop={"between": {"min": 1, "max": 2}})) == pairs(user)
    assert augmented(user, NO_LIMITS) == pairs(user)


def test_removed_options_vanish_and_assured_values_are_checked() -> None:
    limits = limits_of(
        dsm={"remove": True, "assure": True, "value": True}, split={"assure": True, "value": "-1"}
    )
    user = augment(options(dsm=True, max_concurrency=64), limits, None, splitmerge=False)
    limited = limited_specs(SPECS, limits)
    assert faults(user, *limited) == ["split: Invalid value -1 (out of range)"]


@given(VALUE, st.integers(-100, 100), st.integers(0, 100))
def test_a_clamped_option_is_in_its_range_or_refused(value: Json, low: int, width: int) -> None:
    high = low + width
    limits = Limits(options=(OptionLimit(name="split", between=Between(min=low, max=high)),))
    user = augment(options(split=value), limits, None, splitmerge=False)
    for kind in ("int", "float"):
        clamped = filter_options(user, [spec("split", kind, "")])[0].value
        assert clamped is None or (isinstance(clamped, int | float) and low <= clamped <= high)
        if clamped is None:
            assert faults(user, spec("split", kind, "integer"))


@given(USER)
def test_augmenting_twice_changes_nothing_more(user: tuple[OptionValue, ...]) -> None:
    with suppress(BadRequest):
        once = filter_options(augment(user, LIMITS, CLUSTER, True), SPECS)
        assert filter_options(augment(once, LIMITS, CLUSTER, True), SPECS) == once


@given(st.text() | st.text('[]{}",:0123456789.eEnaultr\\ -'))
def test_augmenting_no_options_text_raises_anything_but_bad_request(source: str) -> None:
    with suppress(BadRequest):
        user = parse_user_options(source)
        filter_options(augment(user, LIMITS, CLUSTER, True), SPECS)
