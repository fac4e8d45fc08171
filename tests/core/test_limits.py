from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import LimitReached
from clusterodm_py.core.limits import (
    FLOOD_PERIOD,
    Disk,
    Flood,
    began,
    check_budget,
    check_concurrent,
    check_disk,
    check_flood,
    check_images,
    committed,
)
from clusterodm_py.core.types import NOBODY, Limits, OwnerId

ANN, BOB = OwnerId("ann"), OwnerId("bob")
NOW = 1_700_000_100.0
"""A quarter of an hour begins."""


# Images and concurrent tasks (§6.2)


@pytest.mark.parametrize(("count", "most"), [(0, 0), (2, 2), (1, 2), (10**6, None)])
def test_up_to_max_images_files_are_welcome(count: int, most: int | None) -> None:
    check_images(count, Limits(max_images=most))


@pytest.mark.parametrize(("count", "most"), [(3, 2), (1, 0)])
def test_one_file_too_many_is_refused(count: int, most: int) -> None:
    with pytest.raises(LimitReached, match=r"^Max images count exceeded\.$"):
        check_images(count, Limits(max_images=most))


@pytest.mark.parametrize(("active", "most"), [(0, 1), (4, 5), (10**6, None)])
def test_a_task_below_the_limit_is_welcome(active: int, most: int | None) -> None:
    check_concurrent(active, Limits(max_concurrent=most))


@pytest.mark.parametrize(("active", "most"), [(1, 1), (6, 5)])
def test_the_limit_of_concurrent_tasks_is_named(active: int, most: int) -> None:
    with pytest.raises(LimitReached, match=rf"Maximum concurrent tasks reached.* {most} "):
        check_concurrent(active, Limits(max_concurrent=most))


def test_a_limit_of_zero_allows_no_task() -> None:
    with pytest.raises(LimitReached, match="may not run any task"):
        check_concurrent(0, Limits(max_concurrent=0))


# Flood (§5.8)


def begun(times: int, owner: OwnerId = ANN, now: float = NOW, flood: Flood | None = None) -> Flood:
    ledger = flood or Flood()
    for _ in range(times):
        ledger = began(ledger, owner, now)
    return ledger


def test_the_upload_after_the_limit_is_refused_and_told_how_long_to_wait() -> None:
    check_flood(begun(3), ANN, 3)
    with pytest.raises(LimitReached, match=r"3 uploads.*15 minutes"):
        check_flood(begun(4), ANN, 3)


def test_a_limit_of_one_allows_one_upload_at_a_time() -> None:
    check_flood(begun(1), ANN, 1)
    with pytest.raises(LimitReached):
        check_flood(begun(2), ANN, 1)


def test_a_limit_of_zero_means_no_flood_limit() -> None:
    check_flood(begun(1000), ANN, 0)


def test_refused_inits_count_too() -> None:
    flood = committed(begun(5), ANN, NOW)
    with pytest.raises(LimitReached):
        check_flood(flood, ANN, 3)


def test_a_commit_makes_room_for_one_more() -> None:
    check_flood(began(committed(begun(3), ANN, NOW), ANN, NOW), ANN, 3)


def test_commits_never_save_up_for_later() -> None:
    flood = committed(committed(Flood(), ANN, NOW), ANN, NOW)
    assert flood.counts == {}
    assert began(flood, ANN, NOW).counts == {ANN: 1}


def test_owners_do_not_share_a_count() -> None:
    flood = begun(2, BOB, flood=begun(4))
    assert flood.counts == {ANN: 4, BOB: 2}
    check_flood(flood, BOB, 3)
    check_flood(flood, NOBODY, 3)


@pytest.mark.parametrize(
    ("quarters", "left"), [(0, 101), (1, 66), (2, 43), (3, 28), (4, 18), (9, 1), (10, 0), (10**5, 0)]
)
def test_counts_fade_every_quarter_of_an_hour(quarters: int, left: int) -> None:
    faded = began(begun(100), ANN, NOW)
    later = committed(faded, BOB, NOW + quarters * FLOOD_PERIOD)
    assert later.counts.get(ANN, 0) == left


def test_counts_fade_once_per_quarter_however_often_the_ledger_is_used() -> None:
    assert FLOOD_PERIOD == 900
    flood = begun(100)
    for minute in range(16):
        flood = committed(flood, BOB, NOW + 60 * minute)
    assert flood.counts == {ANN: 66}


def test_an_owner_whose_count_faded_is_forgotten() -> None:
    assert began(begun(1), BOB, NOW + FLOOD_PERIOD).counts == {BOB: 1}


def test_a_clock_set_back_neither_fades_nor_raises() -> None:
    flood = begun(10)
    back = began(flood, ANN, NOW - 10 * FLOOD_PERIOD)
    assert back.counts == {ANN: 11}
    assert began(back, ANN, NOW).counts == {ANN: 12}


def test_a_ledger_is_a_value_that_its_verbs_leave_alone() -> None:
    flood = begun(3)
    began(flood, ANN, NOW + FLOOD_PERIOD)
    committed(flood, ANN, NOW)
    assert flood == begun(3)


STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from([ANN, BOB]), st.integers(0, 600)), max_size=60)


@given(STEPS)
def test_a_ledger_agrees_with_plain_counting(steps: Sequence[tuple[bool, OwnerId, int]]) -> None:
    flood, now = Flood(), NOW
    counts, period = {ANN: 0, BOB: 0}, NOW // FLOOD_PERIOD
    for begins, owner, pause in steps:
        now += pause
        while period < now // FLOOD_PERIOD:
            period += 1
            counts = {who: math.floor(count * 0.66) for who, count in counts.items()}
        flood = began(flood, owner, now) if begins else committed(flood, owner, now)
        counts[owner] = counts[owner] + 1 if begins else max(0, counts[owner] - 1)
        assert flood.counts == {who: count for who, count in counts.items() if count}


# Disk


GB = 10**9


@pytest.mark.parametrize(
    ("disk", "incoming"),
    [
        (Disk(used=6 * GB, quota=10 * GB, free=50 * GB, floor=GB), 4 * GB),
        (Disk(used=6 * GB, quota=None, free=5 * GB, floor=GB), 4 * GB),
        (Disk(used=0, quota=0, free=GB, floor=GB), 0),
    ],
)
def test_an_upload_that_just_fits_is_welcome(disk: Disk, incoming: int) -> None:
    check_disk(disk, incoming)


def test_a_full_quota_is_told_apart_from_a_full_disk() -> None:
    with pytest.raises(
        LimitReached, match=r"needs at least 4\.0 GB more: all .* 10\.0 GB .* 6\.0 GB are taken"
    ):
        check_disk(Disk(used=6 * GB, quota=10 * GB, free=50 * GB, floor=GB), 4 * GB + 1)
    with pytest.raises(
        LimitReached, match=r"at least 4\.0 GB more: the disk has 5\.0 GB free, and 1\.0 GB must"
    ):
        check_disk(Disk(used=6 * GB, quota=None, free=5 * GB, floor=GB), 4 * GB + 1)


def test_a_disk_below_its_floor_takes_not_even_an_empty_upload() -> None:
    with pytest.raises(LimitReached):
        check_disk(Disk(used=0, quota=None, free=GB - 1, floor=GB), 0)


NEEDS = st.integers(0, 10**6)


@given(st.builds(Disk, used=NEEDS, quota=st.none() | NEEDS, free=NEEDS, floor=NEEDS), NEEDS)
def test_what_is_missing_is_exactly_what_uploads_must_give_up(disk: Disk, incoming: int) -> None:
    def after(given: int) -> Disk:
        return replace(disk, used=disk.used - given, free=disk.free + given)

    missing = disk.missing(incoming)
    check_disk(after(missing), incoming)
    if missing:
        with pytest.raises(LimitReached):
            check_disk(after(missing - 1), incoming)


# Budgets


@pytest.mark.parametrize(
    ("used", "budget", "incoming"), [(0, 0, 0), (GB, 3 * GB, 2 * GB), (10**15, None, 10**15)]
)
def test_up_to_its_budget_a_token_may_send(used: int, budget: int | None, incoming: int) -> None:
    check_budget(used, budget, incoming)


def test_a_budget_that_is_used_up_tells_how_much_and_what_to_do() -> None:
    with pytest.raises(
        LimitReached, match=r"2\.0 GB more: .* this token may take 3\.0 GB .* 1\.0 GB are taken"
    ):
        check_budget(GB, 3 * GB, 2 * GB + 1)
