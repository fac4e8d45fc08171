from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.limits import parse_limits
from clusterodm_py.core.types import UNSET, Between, Json, Limits, OptionLimit


@pytest.mark.parametrize("wire", [None, [], {}, False, "", 0])
def test_nothing_is_no_limits(wire: Json) -> None:
    assert parse_limits(wire) == Limits()


def test_a_full_limits_object() -> None:
    wire: Json = {
        "maxImages": 100,
        "maxConcurrentTasks": 0,
        "maxUploadBytes": 5000,
        "priority": -3,
        "options": {
            "split": {"between": {"max_if_equal_to": -1, "min": 1, "max": 9.5}, "value": "5", "assure": True},
            "dsm": {"remove": True},
            "crop": {"domain": "positive float", "value": None},
        },
        "somethingNewer": 1,
    }
    assert parse_limits(wire) == Limits(
        max_images=100,
        max_concurrent=0,
        max_bytes=5000,
        priority=-3,
        options=(
            OptionLimit(
                name="split", value="5", assure=True, between=Between(max_if_equal_to=-1, min=1, max=9.5)
            ),
            OptionLimit(name="dsm", remove=True),
            OptionLimit(name="crop", domain="positive float", value=None),
        ),
    )


@pytest.mark.parametrize("options", [None, False, 0, ""])
def test_falsy_option_limits_are_none_at_all(options: Json) -> None:
    assert parse_limits({"options": options}).options is None


def test_missing_option_limits_are_none_at_all_but_empty_ones_are_some() -> None:
    assert parse_limits({"maxImages": 1}).options is None
    assert parse_limits({"options": {}}).options == ()
    assert parse_limits({"options": []}).options == ()


def test_null_means_not_given_except_where_a_value_may_be_null() -> None:
    wire: Json = {
        "maxImages": None,
        "maxConcurrentTasks": None,
        "maxUploadBytes": None,
        "priority": None,
        "options": {"a": {"remove": None, "assure": None, "between": None}, "b": None},
    }
    assert parse_limits(wire) == Limits(options=(OptionLimit(name="a"),))
    bounds: Json = {"min": None, "max": None, "max_if_equal_to": None}
    assert parse_limits({"options": {"a": {"between": bounds}}}).options == (
        OptionLimit(name="a", between=Between(max_if_equal_to=None)),
    )
    assert Between().max_if_equal_to is UNSET


def test_a_range_may_hold_a_single_value() -> None:
    limits = parse_limits({"options": {"a": {"between": {"min": 5, "max": 5}}}})
    assert limits.options == (OptionLimit(name="a", between=Between(min=5, max=5)),)


def test_integral_floats_are_counts_and_numbers_are_switches() -> None:
    limits = parse_limits({"maxImages": 5.0, "options": {"a": {"remove": 1, "assure": 0}}})
    assert repr(limits.max_images) == "5"
    assert limits.options == (OptionLimit(name="a", remove=True),)


@pytest.mark.parametrize(("wire", "size"), [(0, 0), (1e3, 1000), ("50G", 50 * 2**30), ("5000", 5000)])
def test_a_budget_is_bytes_or_a_size(wire: Json, size: int) -> None:
    assert parse_limits({"maxUploadBytes": wire}).max_bytes == size


@pytest.mark.parametrize("priority", [-1000, 0, 1000])
def test_priorities_go_both_ways(priority: int) -> None:
    assert parse_limits({"priority": priority}).priority == priority


@pytest.mark.parametrize(
    ("wire", "key"),
    [
        ("none", "limits"),
        ([1], "limits"),
        (5, "limits"),
        ({"maxImages": "many"}, "maxImages"),
        ({"maxImages": -1}, "maxImages"),
        ({"maxImages": 1.5}, "maxImages"),
        ({"maxImages": math.nan}, "maxImages"),
        ({"maxConcurrentTasks": True}, "maxConcurrentTasks"),
        ({"maxConcurrentTasks": []}, "maxConcurrentTasks"),
        ({"maxUploadBytes": -1}, "maxUploadBytes"),
        ({"maxUploadBytes": "much"}, "maxUploadBytes"),
        ({"maxUploadBytes": ""}, "maxUploadBytes"),
        ({"maxUploadBytes": 2**63}, "maxUploadBytes"),
        ({"maxUploadBytes": False}, "maxUploadBytes"),
        ({"priority": 1001}, "priority"),
        ({"priority": -1001}, "priority"),
        ({"priority": 0.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": math.nan}, "priority"),
        ({"options": ["dsm"]}, "options"),
        ({"options": True}, "options"),
        ({"options": {"dsm": True}}, "options.dsm"),
        ({"options": {"dsm": {"remove": "no"}}}, "options.dsm.remove"),
        ({"options": {"dsm": {"assure": []}}}, "options.dsm.assure"),
        ({"options": {"dsm": {"between": 5}}}, "options.dsm.between"),
        ({"options": {"dsm": {"between": {"min": "1"}}}}, "options.dsm.between.min"),
        ({"options": {"dsm": {"between": {"max": math.inf}}}}, "options.dsm.between.max"),
        ({"options": {"dsm": {"between": {"min": 2, "max": 1}}}}, "options.dsm.between.min"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_key(wire: Json, key: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_limits(wire)
    assert str(refusal.value).split(" ")[0] == key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "maxImages",
                    "maxUploadBytes",
                    "priority",
                    "options",
                    "dsm",
                    "between",
                    "min",
                    "max",
                    "remove",
                    "value",
                ]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_no_limits_object_raises_anything_but_bad_request(wire: Json) -> None:
    with suppress(BadRequest):
        limits = parse_limits(wire)
        assert limits.max_images is None or limits.max_images >= 0
        assert limits.max_bytes is None or limits.max_bytes >= 0
        assert -1000 <= limits.priority <= 1000
