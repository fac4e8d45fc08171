from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need, Use, next_turn, place
from clusterodm_py.core.rules import Rules
from clusterodm_py.core.types import Health, NodeId, NodeView
from harness.views import NEEDS, any_view, clusters, names, view

RULES = st.builds(Rules, by_speed=st.booleans())


def by_place(views: list[NodeView], need: Need, rules: Rules) -> NodeView | None:
    match place(views, need, rules, late=True):
        case Use(view=chosen):
            return chosen
        case _:
            return None


def with_view(views: list[NodeView], changed: NodeView) -> list[NodeView]:
    """The list as a cluster keeps it: a changed node keeps its place, a new one comes last."""
    if all(each.node.id != changed.node.id for each in views):
        return [*views, changed]
    return [changed if each.node.id == changed.node.id else each for each in views]


@given(clusters(), NEEDS, RULES)
def test_the_best_node_is_the_one_that_placement_chooses(
    views: list[NodeView], need: Need, rules: Rules
) -> None:
    assert Fleet(views, rules).best(need) == by_place(views, need, rules)


@given(
    clusters(),
    st.lists(st.sampled_from(names(8)).flatmap(any_view), max_size=12),
    st.lists(NEEDS, min_size=1, max_size=3),
    RULES,
)
def test_after_any_changes_it_is_as_if_built_anew(
    views: list[NodeView], changes: list[NodeView], needs: list[Need], rules: Rules
) -> None:
    fleet = Fleet(views, rules)
    for change in changes:
        fleet.put(change)
        views = with_view(views, change)
        assert [fleet.best(need) for need in needs] == [by_place(views, need, rules) for need in needs]
        assert bool(fleet) == any(fleet.get(each.node.id) for each in views)


@given(clusters(), st.frozensets(st.sampled_from([NodeId(f"{name}:3000") for name in names(7)])))
def test_the_reach_is_the_largest_task_that_can_be_placed(
    views: list[NodeView], exclude: frozenset[NodeId]
) -> None:
    fleet = Fleet(views)
    reach = fleet.reach(exclude)
    assert not fleet.best(Need(reach + 1, exclude))
    assert bool(fleet.best(Need(reach, exclude))) == (reach > 0)


@given(clusters())
def test_a_node_is_found_by_name_only_while_it_can_take_a_task(views: list[NodeView]) -> None:
    fleet = Fleet(views)
    for each in views:
        takes = each.online and not each.node.locked and each.free > 0
        assert fleet.get(each.node.id) == (each if takes else None)
    assert fleet.get(NodeId("nobody:1")) is None


@given(clusters(), st.integers(1, 20))
def test_slots_are_taken_until_none_is_left(views: list[NodeView], most: int) -> None:
    fleet, turn = Fleet(views), next_turn(views)
    slots = sum(each.free for each in views if each.online and not each.node.locked)
    taken = 0
    while (best := fleet.best(Need(1))) and taken < most:
        fleet.put(replace(best, in_flight=best.in_flight + 1, turn=turn + taken))
        taken += 1
    assert taken == min(slots, most)
    assert bool(fleet) == (taken < slots)


def test_equals_take_turns_in_the_order_of_the_list() -> None:
    fleet = Fleet([view(name, slots=2) for name in names(3)])
    picked = []
    for turn in range(1, 7):
        best = fleet.best(Need(1))
        assert best
        picked.append(best.node.address.host)
        fleet.put(replace(best, in_flight=best.in_flight + 1, turn=turn))
    assert picked == ["n0", "n1", "n2"] * 2


def test_what_is_learned_of_one_node_moves_the_unknown_ones_with_the_typical() -> None:
    fleet = Fleet([view("new"), view("known", pace=4.0), view("other", pace=4.0, queued=1)])
    assert fleet.best(Need(1)) == view("new")
    fleet.put(view("other", pace=40.0, queued=1))
    assert fleet.best(Need(1)) == view("known", pace=4.0)


def test_a_node_that_was_full_for_a_while_keeps_its_place_among_equals() -> None:
    fleet = Fleet([view("n0"), view("n1")])
    fleet.put(view("n0", queued=1))
    assert fleet.best(Need(1)) == view("n1")
    fleet.put(view("n0"))
    assert fleet.best(Need(1)) == view("n0")


@given(clusters(), NEEDS, st.sampled_from(names(7)))
def test_a_task_goes_home_only_where_it_can_run(views: list[NodeView], need: Need, name: str) -> None:
    fleet, home = Fleet(views), NodeId(f"{name}:3000")
    best = fleet.best(need)
    if best:
        assert fleet.at_home(None, need, best) == best
        went = fleet.at_home(home, need, best)
        assert went == best or went.node.id == home
        assert by_place([went], need, Rules()) == went


@pytest.mark.parametrize(
    ("home", "best", "stays"),
    [
        (view("home", turn=9), view("best"), True),
        (view("home", slots=2, promised=1), view("best", slots=2), True),
        (view("home", pace=1.1), view("best", pace=1.0), True),
        (view("home", pace=9.0), view("best"), True),
        (view("home"), view("best", pace=1.0), True),
        (view("home", pace=2.0), view("best", pace=1.0), False),
        (view("home", health=Health.SHAKY), view("best"), False),
        (view("home", queued=1), view("best"), False),
        (view("home", locked=True), view("best"), False),
        (view("home", max_images=9), view("best"), False),
    ],
)
def test_a_task_stays_where_its_files_are_unless_that_costs_more_than_sending_them(
    home: NodeView, best: NodeView, stays: bool
) -> None:
    went = Fleet([home, best]).at_home(home.node.id, Need(10), best)
    assert went == (home if stays else best)


def test_speed_moves_no_task_from_its_files_where_the_rules_leave_speed_aside() -> None:
    home, best = view("home", pace=9.0), view("best", pace=1.0)
    assert Fleet([home, best], Rules(by_speed=False)).at_home(home.node.id, Need(1), best) == home


def test_a_node_that_had_its_try_is_no_home() -> None:
    home, best = view("home"), view("best")
    assert Fleet([home, best]).at_home(home.node.id, Need(1, frozenset({home.node.id})), best) == best
