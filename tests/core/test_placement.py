from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.placement import (
    Need,
    Placement,
    Refuse,
    Use,
    Wait,
    Why,
    candidates,
    next_turn,
    place,
    reasons,
    reference,
    waiting,
)
from clusterodm_py.core.rules import Rules
from clusterodm_py.core.types import Address, Health, Node, NodeId, NodeView
from harness.views import NEEDS, clusters, view

ONE = Need(images=1)


def chosen(placement: Placement) -> str:
    assert isinstance(placement, Use)
    return placement.view.node.address.host


def by_the_contract(views: list[NodeView], need: Need) -> NodeView | None:
    """Contract §4.3, steps 3-5, read literally, for nodes of unknown speed without uploads on their way; nodes that
    missed a poll after those that did not.
    """

    def limit(each: NodeView) -> int:
        return (each.info.max_images if each.info else None) or 999_999_999

    able = [
        each
        for each in views
        if each.online
        and not each.node.locked
        and limit(each) >= need.images
        and each.node.id not in need.exclude
    ]
    able.sort(key=lambda each: each.turn)
    able.sort(key=lambda each: each.queued)
    able.sort(key=lambda each: each.free, reverse=True)
    able.sort(key=limit)
    able.sort(key=lambda each: each.health is Health.SHAKY)
    return next((each for each in able if each.free > 0), able[0] if able else None)


def plain(views: list[NodeView]) -> list[NodeView]:
    return [replace(each, promised=0, pace=None) for each in views]


@given(clusters(), NEEDS)
def test_the_choice_is_the_contracts(views: list[NodeView], need: Need) -> None:
    placement = place(plain(views), need)
    expected = by_the_contract(plain(views), need)
    assert (placement.view if isinstance(placement, Use) else None) == expected


@given(clusters(), NEEDS)
def test_uploads_under_way_and_speeds_change_only_which_of_several_is_best(
    views: list[NodeView], need: Need
) -> None:
    before, after = place(plain(views), need, late=True), place(views, need, late=True)
    assert type(before) is type(after)
    assert len(before.whys) == len(after.whys)
    ignored = [replace(each, promised=0) for each in views]
    whys = place(ignored, need, Rules(by_speed=False)).whys
    assert tuple(whys) == tuple(place(plain(views), need).whys)


@given(clusters(), NEEDS)
def test_a_task_that_binds_late_goes_where_it_would_have_gone_or_waits_where_all_are_full(
    views: list[NodeView], need: Need
) -> None:
    match place(views, need), place(views, need, late=True):
        case Use(view=eager), Use(view=late):
            assert late == eager
            assert late.free
        case Use(view=eager), Wait(whys=whys):
            assert not eager.free
            assert not any(each.free for each in candidates(views, need))
            assert whys[0] == Why(eager.node.id, 1, f"next, 0 of {eager.slots} slots free")
        case before, after:
            assert isinstance(before, Refuse)
            assert isinstance(after, Refuse)
            assert before.message == after.message


@given(clusters(), NEEDS)
def test_only_an_eligible_node_is_used_and_no_full_one_while_another_has_a_slot(
    views: list[NodeView], need: Need
) -> None:
    able = candidates(views, need)
    match place(views, need):
        case Use(view=used):
            assert used == able[0]
            assert used.online
            assert not used.node.locked
            assert used.node.id not in need.exclude
            assert used.free or not any(each.free for each in able)
        case Wait():
            pytest.fail("waits although it was not told to")
        case Refuse(message=message):
            assert not able
            assert message.startswith("No nodes available")


@given(clusters(), NEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_list_decides_only_between_equals(
    views: list[NodeView], need: Need, random: Random
) -> None:
    distinct = [replace(each, turn=number) for number, each in enumerate(views)]
    shuffled = list(distinct)
    random.shuffle(shuffled)
    assert candidates(shuffled, need) == candidates(distinct, need)


@given(clusters(), NEEDS)
def test_every_node_is_given_one_reason(views: list[NodeView], need: Need) -> None:
    placement = place(views, need)
    able = candidates(views, need)
    assert sorted(why.node for why in placement.whys) == sorted(each.node.id for each in views)
    assert [why.node for why in placement.whys[: len(able)]] == [each.node.id for each in able]
    assert [why.rank for why in placement.whys] == [
        *range(1, len(able) + 1),
        *[None] * (len(views) - len(able)),
    ]
    assert all(why.reason for why in placement.whys)


@given(st.integers(1, 6), st.integers(1, 4))
def test_equals_take_turns(count: int, rounds: int) -> None:
    views = [view(f"n{number}", slots=2) for number in range(count)]
    picked = []
    for _ in range(count * rounds):
        name = chosen(place(views, ONE))
        picked.append(name)
        views = [
            replace(each, turn=next_turn(views)) if each.node.address.host == name else each for each in views
        ]
    assert all(picked.count(each.node.address.host) == rounds for each in views)
    assert picked[:count] == [f"n{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("views", "best"),
    [
        ([view("a", slots=1), view("b", slots=2)], "b"),
        ([view("a", slots=9), view("b", max_images=10)], "b"),
        ([view("a", slots=9), view("b", max_images=10, queued=1)], "a"),
        ([view("a", max_images=0), view("b", max_images=500)], "b"),
        ([view("a", max_images=100), view("b", max_images=50)], "b"),
        ([view("a", slots=4, queued=3), view("b", slots=2, queued=1)], "b"),
        ([view("a", slots=4, queued=2), view("b", slots=3, queued=1)], "b"),
        ([view("a", slots=2, in_flight=2), view("b", slots=1)], "b"),
        ([view("a", turn=4), view("b", turn=3)], "b"),
        ([view("a"), view("b")], "a"),
        ([view("a", queued=7), view("b", queued=3)], "b"),
        ([view("a", slots=9, health=Health.SHAKY), view("b")], "b"),
        ([view("a", health=Health.SHAKY), view("b", queued=1)], "a"),
        ([view("a", max_images=10, health=Health.SHAKY), view("b")], "b"),
        ([view("a", slots=3, promised=3), view("b")], "b"),
        ([view("a", slots=3, promised=1), view("b", slots=2, promised=1)], "a"),
        ([view("a", slots=3, promised=2), view("b", slots=2)], "b"),
        ([view("a", promised=1), view("b", queued=1)], "a"),
        ([view("a", promised=1, max_images=10), view("b")], "b"),
        ([view("a", promised=1), view("b", health=Health.SHAKY)], "b"),
        ([view("a", slots=9, pace=2.0), view("b", pace=1.0)], "b"),
        ([view("a", pace=1.0), view("b", pace=1.1, slots=2)], "b"),
        ([view("a", pace=1.0), view("b", pace=2.0, max_images=10)], "b"),
        ([view("a", pace=1.0), view("b", queued=1, slots=2, pace=0.5), view("c")], "b"),
        ([view("a", pace=9.0), view("b"), view("c", pace=2.0)], "c"),
        ([view("a", pace=9.0), view("b"), view("c", pace=9.0)], "a"),
    ],
)
def test_the_better_node_of_two(views: list[NodeView], best: str) -> None:
    assert chosen(place(views, ONE)) == best
    if best == "b":
        assert chosen(place(views[::-1], ONE)) == best


def test_unknown_nodes_are_tried_before_slow_ones_and_after_fast_ones() -> None:
    views = [view("slow", pace=9.0), view("new"), view("usual", pace=3.0), view("fast", pace=1.0)]
    assert [each.node.address.host for each in candidates(views, ONE)] == ["fast", "new", "usual", "slow"]


def test_nodes_of_one_kind_take_turns_although_no_two_are_as_fast() -> None:
    views = [view(f"n{number}", pace=3.0 * (1 + number / 50), turn=5 - number) for number in range(6)]
    assert [each.turn for each in candidates(views, ONE)] == sorted(each.turn for each in views)


def test_an_image_limit_is_inclusive() -> None:
    assert isinstance(place([view("a", max_images=10)], Need(images=10)), Use)
    assert isinstance(place([view("a", max_images=10)], Need(images=11)), Refuse)


def test_the_reference_node_is_the_first_online_one_even_when_locked() -> None:
    down, locked, up = view("a", health=Health.DOWN), view("b", locked=True), view("c")
    assert reference([down, locked, up]) == locked
    assert reference([down]) is None
    assert reference([]) is None


def test_the_next_turn_is_after_all_others() -> None:
    assert next_turn([]) == 1
    assert next_turn([view("a", turn=3), view("b", turn=2_000_000_000)]) == 2_000_000_001


def test_the_reasons_tell_an_operator_what_decided() -> None:
    placement = place(
        [
            view("down", health=Health.DOWN, error="connection refused"),
            view("new", health=Health.UNKNOWN),
            view("locked", locked=True),
            view("small", max_images=10),
            view("tried"),
            view("full", slots=2, queued=2),
            view("shaky", health=Health.SHAKY),
            view("one", slots=1),
            view("two", slots=3, queued=1),
        ],
        Need(images=50, exclude=frozenset({NodeId("tried:3000")})),
    )
    assert reasons(placement.whys) == (
        "two:3000: chosen, 2 of 3 slots free",
        "one:3000: rank 2, 1 of 1 slots free: fewer free slots",
        "shaky:3000: rank 3, 1 of 1 slots free: missed its last poll",
        "full:3000: rank 4, 0 of 2 slots free: no free slot",
        "down:3000: offline: connection refused",
        "new:3000: offline: it never answered",
        "locked:3000: locked",
        "small:3000: takes at most 10 images, the task has 50",
        "tried:3000: tried already",
    )


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        (view("a", max_images=5), view("b"), "larger image limit"),
        (view("a", slots=2, queued=0), view("b", slots=4, queued=2), "longer queue"),
        (view("a", turn=1), view("b", turn=2), "had its turn later"),
        (view("a"), view("b"), "later in the list"),
        (view("a", pace=1.0), view("b", pace=4.0), "slower"),
        (view("a"), view("b", promised=1), "uploads under way hope for its free slots"),
    ],
)
def test_a_reason_names_the_first_difference(better: NodeView, worse: NodeView, reason: str) -> None:
    assert place([better, worse], ONE).whys[1].reason.endswith(f": {reason}")


def test_waiting_in_a_nodes_queue_is_said() -> None:
    assert (
        place([view("a", queued=1)], ONE).whys[0].reason
        == "chosen, 0 of 1 slots free; it waits in the node's queue"
    )


def test_a_node_that_never_told_its_slots_is_full() -> None:
    bare = NodeView(node=Node(address=Address("a", 1)), health=Health.UP)
    assert chosen(place([bare, view("b", max_images=1)], ONE)) == "b"
    assert chosen(place([bare], ONE)) == "a"


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], "No nodes available: none is registered. Add a node."),
        ([view("a", locked=True)], "No nodes available (1 locked): unlock a node."),
        (
            [view("a", locked=True), view("b", health=Health.DOWN), view("c", health=Health.DOWN)],
            "No nodes available (1 locked, 2 offline): unlock a node or bring a node back online.",
        ),
        (
            [view("a", max_images=9)],
            "No nodes available (1 too small): add a node that takes 50 images.",
        ),
        ([view("tried")], "No nodes available (1 tried already): add another node."),
    ],
)
def test_a_refusal_names_the_fix_but_no_node(views: list[NodeView], message: str) -> None:
    placement = place(views, Need(images=50, exclude=frozenset({NodeId("tried:3000")})))
    assert isinstance(placement, Refuse)
    assert placement.message == message


def test_a_thousand_nodes_make_a_short_record() -> None:
    lines = reasons(place([view(f"n{number}") for number in range(1000)], ONE).whys)
    assert lines[0].startswith("n0:3000: chosen")
    assert lines[-1] == "980 more nodes were considered"
    assert len(lines) == 21


@pytest.mark.parametrize(
    ("views", "unbound", "expected"),
    [
        ([], 0, 0),
        ([], 4, 4),
        ([view("a", slots=2, queued=1)], 4, 0),
        ([view("a", slots=2, queued=2)], 4, 4),
        ([view("a", slots=2, queued=3, in_flight=2)], 4, 7),
        (
            [
                view("a", slots=2, queued=2),
                view("b", slots=9, locked=True),
                view("c", slots=9, health=Health.DOWN),
            ],
            1,
            1,
        ),
    ],
)
def test_tasks_wait_only_while_no_slot_is_free(views: list[NodeView], unbound: int, expected: int) -> None:
    assert waiting(views, unbound) == expected
