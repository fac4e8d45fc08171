from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.fleet import Fleet
from clusterodm_py.core.placement import Need, Use, place
from clusterodm_py.core.queue import Queue, Waiting
from clusterodm_py.core.rules import Rules
from clusterodm_py.core.types import NodeId, NodeView, OwnerId, TaskId
from harness.views import clusters, names, view

OWNERS = [OwnerId(name) for name in ("", "ann", "bob", "cat")]
NODES = [NodeId(f"{name}:3000") for name in names(4)]
RULES = st.builds(
    Rules,
    fair=st.booleans(),
    window=st.sampled_from([0.0, 10.0, 600.0]),
    by_speed=st.booleans(),
    trial=st.booleans(),
)
SERVED = st.dictionaries(st.sampled_from(OWNERS), st.integers(0, 4))


def entry(
    task: str, owner: str = "", images: int = 10, since: float = 0.0, priority: int = 0, exclude: str = ""
) -> Waiting:
    return Waiting(
        task=TaskId(task),
        owner=OwnerId(owner),
        images=images,
        since=since,
        priority=priority,
        exclude=frozenset({NodeId(f"{exclude}:3000")} if exclude else ()),
    )


ENTRIES = st.builds(
    Waiting,
    task=st.integers(0, 40).map(lambda number: TaskId(f"t{number:02}")),
    owner=st.sampled_from(OWNERS),
    images=st.sampled_from([1, 5, 50, 500]),
    since=st.sampled_from([0.0, 5.0, 9.0, 11.0, 25.0, 599.0, 700.0]),
    priority=st.sampled_from([0, 0, 0, 1, -1]),
    exclude=st.frozensets(st.sampled_from(NODES), max_size=3) | st.just(frozenset[NodeId]()),
)
LISTS = st.lists(ENTRIES, max_size=16, unique_by=lambda each: each.task)


def queue(*entries: Waiting) -> Queue:
    filled = Queue()
    for each in entries:
        filled.put(each)
    return filled


class Specified:
    """The queue's order, to be read: sort everything, take the first."""

    def __init__(self, entries: list[Waiting], served: Mapping[OwnerId, int], rules: Rules) -> None:
        self.entries = entries
        self.served = served
        self.rules = rules
        self.on_trial = False

    def own_order(self, each: Waiting) -> tuple[object, ...]:
        if not self.rules.window:
            return (-each.priority, each.since, each.task)
        size = each.images if self.on_trial else -each.images
        return (-each.priority, each.since // self.rules.window, size, each.since, each.task)

    def between_owners(self, each: Waiting) -> tuple[object, ...]:
        return (self.served.get(each.owner, 0), -each.priority, each.since, each.task)

    def first(self, able: list[Waiting]) -> Waiting | None:
        if not self.rules.fair:
            return min(able, key=self.own_order, default=None)
        owners = {each.owner for each in able}
        nexts = [min((each for each in able if each.owner == owner), key=self.own_order) for owner in owners]
        return min(nexts, key=self.between_owners, default=None)

    def next(self, views: list[NodeView]) -> tuple[Waiting, NodeView] | None:
        match place(views, Need(1), self.rules, late=True):
            case Use(view=best):
                self.on_trial = self.rules.trial and self.rules.by_speed and best.pace is None
        nodes = {each.task: self.node(each, views) for each in self.entries}
        chosen = self.first([each for each in self.entries if nodes[each.task]])
        node = nodes[chosen.task] if chosen else None
        return (chosen, node) if chosen and node else None

    def node(self, each: Waiting, views: list[NodeView]) -> NodeView | None:
        placed = place(views, Need(each.images, each.exclude), self.rules, late=True)
        return placed.view if isinstance(placed, Use) else None

    def order(self) -> list[TaskId]:
        """In which all would be placed, if every node took any task."""
        left, served, order = list(self.entries), Counter(self.served), list[TaskId]()
        while chosen := Specified(left, served, self.rules).first(left):
            left.remove(chosen)
            served[chosen.owner] += 1
            order.append(chosen.task)
        return order


@given(LISTS, SERVED, clusters(5), RULES)
def test_the_next_is_the_first_of_all_sorted(
    entries: list[Waiting], served: dict[OwnerId, int], views: list[NodeView], rules: Rules
) -> None:
    found = queue(*entries).next(served, Fleet(views, rules), rules)
    assert found == Specified(entries, served, rules).next(views)


@given(
    st.lists(ENTRIES | st.integers(0, 40), max_size=40),
    SERVED,
    st.lists(clusters(4), min_size=1, max_size=3),
    RULES,
)
def test_after_any_changes_it_is_as_if_filled_anew(
    changes: list[Waiting | int], served: dict[OwnerId, int], fleets: list[list[NodeView]], rules: Rules
) -> None:
    changed, expected = Queue(), dict[TaskId, Waiting]()
    for number, change in enumerate(changes):
        if isinstance(change, Waiting):
            changed.put(change)
            expected[change.task] = change
        else:
            task = TaskId(f"t{change:02}")
            assert changed.remove(task) == (expected.pop(task, None) is not None)
        views = fleets[number % len(fleets)]
        specified = Specified(list(expected.values()), served, rules)
        assert changed.next(served, Fleet(views, rules), rules) == specified.next(views)
    assert len(changed) == len(expected)
    assert sorted(changed, key=lambda each: each.task) == sorted(
        expected.values(), key=lambda each: each.task
    )
    assert all(changed.get(task) == each and task in changed for task, each in expected.items())


@given(LISTS, SERVED, RULES)
def test_positions_tell_the_order_in_which_all_would_be_placed(
    entries: list[Waiting], served: dict[OwnerId, int], rules: Rules
) -> None:
    line = queue(*entries)
    line.next({}, Fleet(), rules)
    order = Specified(entries, served, rules).order()
    assert [line.position(task, served) for task in order] == list(range(1, len(order) + 1))
    assert line.position(TaskId("nobody"), served) is None


@given(LISTS, SERVED, RULES)
def test_each_task_placed_brings_every_other_one_nearer(
    entries: list[Waiting], served: dict[OwnerId, int], rules: Rules
) -> None:
    line = queue(*(replace(each, exclude=frozenset()) for each in entries))
    fleet, counts = Fleet([view("n0", pace=1.0)]), Counter(served)
    while found := line.next(counts, fleet, rules):
        before = {each.task: line.position(each.task, counts) for each in line}
        assert before.pop(found[0].task) == 1
        line.remove(found[0].task)
        counts[found[0].owner] += 1
        assert {each.task: line.position(each.task, counts) for each in line} == {
            task: place - 1 for task, place in before.items() if place
        }


@given(LISTS, SERVED, clusters(5))
def test_nobody_gets_a_slot_while_one_with_fewer_tasks_on_nodes_has_a_task_that_fits(
    entries: list[Waiting], served: dict[OwnerId, int], views: list[NodeView]
) -> None:
    fleet = Fleet([*views, view("n9", max_images=50)])
    found = queue(*entries).next(served, fleet)
    for each in entries if found else ():
        assert found
        if served.get(each.owner, 0) < served.get(found[0].owner, 0):
            assert fleet.best(Need(each.images, each.exclude)) is None


@given(LISTS, SERVED, clusters(5), RULES)
def test_no_task_is_overtaken_by_a_later_one_of_its_owner_beyond_the_window(
    entries: list[Waiting], served: dict[OwnerId, int], views: list[NodeView], rules: Rules
) -> None:
    fleet = Fleet([*views, view("n9", max_images=50)], rules)
    found = queue(*entries).next(served, fleet, rules)
    for each in entries if found else ():
        assert found
        alike = (each.owner, each.priority) == (found[0].owner, found[0].priority)
        if alike and each.since + rules.window < found[0].since:
            assert fleet.best(Need(each.images, each.exclude)) is None


@given(LISTS, clusters(5), RULES)
def test_everything_that_fits_somewhere_is_placed_in_the_end(
    entries: list[Waiting], views: list[NodeView], rules: Rules
) -> None:
    fitting = {each.task for each in entries if Fleet(views).best(Need(each.images, each.exclude))}
    line, served, placed = queue(*entries), Counter[OwnerId](), set[TaskId]()
    while found := line.next(served, Fleet(views, rules), rules):
        assert found[0].task not in placed
        placed.add(found[0].task)
        line.remove(found[0].task)
        served[found[0].owner] += 1
    assert placed == fitting


def order(
    line: Queue, fleet: Fleet, served: Mapping[OwnerId, int] | None = None, rules: Rules | None = None
) -> str:
    """The names in the order in which they are placed, where nobody ever finishes and slots are without end."""
    counts, found = Counter(served or {}), list[str]()
    while chosen := line.next(counts, fleet, rules or Rules()):
        line.remove(chosen[0].task)
        counts[chosen[0].owner] += 1
        found.append(chosen[0].task)
    return " ".join(found)


ROOMY = Fleet([view("n0", pace=1.0)])


def test_owners_take_turns() -> None:
    entries = [
        entry("a1", "ann"),
        entry("a2", "ann", since=1),
        entry("a3", "ann", since=2),
        entry("b1", "bob", since=3),
    ]
    assert order(queue(*entries), ROOMY) == "a1 b1 a2 a3"
    assert order(queue(*entries), ROOMY, {OwnerId("bob"): 2}) == "a1 a2 a3 b1"
    assert order(queue(*entries), ROOMY, rules=Rules(fair=False)) == "a1 a2 a3 b1"


def test_between_owners_served_alike_priority_comes_before_age() -> None:
    assert order(queue(entry("a", "ann"), entry("b", "bob", since=9, priority=1)), ROOMY) == "b a"


def test_among_an_owners_tasks_of_the_same_minutes_the_larger_goes_first() -> None:
    entries = [
        entry("small", images=5),
        entry("large", images=90, since=300),
        entry("later", images=900, since=601),
    ]
    assert order(queue(*entries), ROOMY) == "large small later"
    assert order(queue(*entries), ROOMY, rules=Rules(window=0.0)) == "small large later"


def test_a_node_of_unknown_speed_is_tried_with_the_smaller_tasks_of_the_same_minutes() -> None:
    entries = [
        entry("large", images=90),
        entry("small", images=5, since=300),
        entry("later", images=1, since=601),
    ]
    on_trial = Fleet([view("n0")])
    assert order(queue(*entries), on_trial) == "small large later"
    assert order(queue(*entries), on_trial, rules=Rules(trial=False)) == "large small later"
    assert order(queue(*entries), on_trial, rules=Rules(by_speed=False)) == "large small later"
    assert order(queue(*entries), Fleet([view("n0"), view("n1", pace=1.0, turn=1)])) == "small large later"
    assert (
        order(queue(*entries), Fleet([view("n0"), view("n1", pace=1.0), view("n2", pace=9.0)]))
        == "large small later"
    )


def test_a_large_task_lets_others_by_and_is_first_for_the_next_node_that_takes_it() -> None:
    line = queue(entry("large", images=500), entry("small", images=5, since=1000))
    found = line.next({}, Fleet([view("n0", max_images=10)]))
    assert found
    assert found[0].task == "small"
    found = line.next({}, Fleet([view("n0", max_images=10), view("n1")]))
    assert found
    assert (found[0].task, found[1].node.address.host) == ("large", "n1")


def test_a_task_whose_nodes_had_their_try_lets_others_by() -> None:
    line = queue(entry("tried", exclude="n0"), entry("other", since=1000))
    assert order(line, Fleet([view("n0")])) == "other"
    assert order(line, Fleet([view("n0"), view("n1")])) == "tried"


def test_nobody_is_next_without_a_free_node() -> None:
    line = queue(entry("a"))
    assert line.next({}, Fleet()) is None
    assert line.next({}, Fleet([view("n0", queued=1)])) is None
    assert Queue().next({}, Fleet([view("n0")])) is None
    assert line.position(TaskId("a"), {}) == 1


@pytest.mark.parametrize("sizes", [40])
def test_nodes_of_very_many_sizes_are_served_like_few(sizes: int) -> None:
    entries = [entry(f"t{number:02}", images=number + 1) for number in range(sizes)]
    line = queue(*entries)
    for limit in [*range(1, sizes), *range(sizes, 0, -1)]:
        found = line.next({}, Fleet([view("n0", max_images=limit, pace=1.0)]))
        assert found
        assert found[0].images == limit
