from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.cluster import Cluster
from clusterodm_py.simulation.model import Job, Machine, Wires
from clusterodm_py.simulation.policies import POLICIES
from clusterodm_py.simulation.records import Figures, Records, lower_bound

WIRES = Wires(client=10.0, cluster=100.0)


def job(
    name: str,
    work: float,
    *,
    arrival: float = 0,
    images: int = 10,
    size: int = 0,
    owner: str = "",
    priority: int = 0,
) -> Job:
    return Job(
        id=TaskId(name),
        arrival=arrival,
        images=images,
        bytes=size,
        work=work,
        owner=OwnerId(owner),
        priority=priority,
    )


def simulate(policy: str, jobs: Sequence[Job], *machines: Machine) -> Records:
    return Cluster(machines or (Machine(),), POLICIES[policy], WIRES).run(
        sorted(jobs, key=lambda job: job.arrival)
    )


def test_a_task_is_uploaded_then_sent_on_then_processed() -> None:
    records = simulate("fifo", [job("a", 30.0, arrival=5.0, size=1000)], Machine(speed=2.0))
    assert (records.first, records.last) == (5.0, 5.0 + 100.0 + 10.0 + 15.0)
    assert list(records.waits) == [10.0]
    assert records.busy == 15.0


def test_an_upload_that_is_passed_on_leaves_nothing_to_send() -> None:
    records = simulate("pipelined", [job("a", 30.0, size=1000), job("b", 30.0, arrival=500.0, size=1000)])
    assert records.last == 500.0 + 100.0 + 30.0
    assert list(records.waits) == [0.0, 0.0]


def test_an_upload_is_passed_on_to_one_node_only_and_sent_to_any_other() -> None:
    records = simulate("pipelined", [job("a", 500.0, size=1000), job("b", 30.0, size=1000)])
    assert sorted(records.waits) == [0.0, 510.0]


def test_a_pushed_task_waits_on_its_node_although_another_is_free() -> None:
    jobs = [job("long", 100.0), job("short", 10.0), job("third", 10.0)]
    machines = (Machine(), Machine())
    assert simulate("eager", jobs, *machines).last == 110.0
    assert simulate("fifo", jobs, *machines).last == 100.0


def test_pushed_tasks_go_to_the_shortest_line() -> None:
    jobs = [job(str(number), 10.0) for number in range(9)]
    assert sorted(simulate("eager", jobs, *[Machine()] * 3).waits) == [0.0] * 3 + [10.0] * 3 + [20.0] * 3


def test_slots_run_side_by_side() -> None:
    jobs = [job(str(number), 10.0) for number in range(4)]
    for policy in POLICIES:
        assert simulate(policy, jobs, Machine(slots=2)).last == 20.0


def test_an_owner_with_one_task_is_not_behind_another_ones_hundred() -> None:
    jobs = [job(f"many-{number:02}", 10.0, owner="many") for number in range(20)]
    jobs.append(job("zone", 10.0, arrival=1.0, owner="one"))
    assert list(simulate("fifo", jobs).lone_waits)[1:] == [199.0]
    assert list(simulate("fair", jobs).lone_waits)[1:] == [9.0]


def test_the_larger_of_tasks_committed_together_start_first() -> None:
    jobs = [job(name, size, images=int(size)) for name, size in (("a", 10.0), ("b", 10.0), ("c", 20.0))]
    assert simulate("fair", jobs, Machine(), Machine()).last == 30.0
    assert simulate("larger", jobs, Machine(), Machine()).last == 20.0


def test_a_known_fast_node_is_taken_first() -> None:
    slow, fast = Machine(speed=0.5), Machine(speed=2.0)
    assert simulate("ours", [job("a", 10.0)], slow, fast).last == 20.0
    assert simulate("known", [job("a", 10.0)], slow, fast).last == 5.0


def test_speeds_are_learned_on_the_way() -> None:
    slow, fast = Machine(speed=0.5), Machine(speed=2.0)
    jobs = [job(f"{number}", 100.0, images=50, arrival=number * 300.0) for number in range(12)]
    assert list(simulate("larger", jobs, slow, fast).waits) == [0.0] * 12
    assert simulate("larger", jobs, slow, fast).busy == 6 * 200 + 6 * 50
    assert simulate("ours", jobs, slow, fast).busy < 5 * 200 + 7 * 50


def test_a_higher_priority_goes_first() -> None:
    jobs = [job("first", 10.0), job("low", 10.0, arrival=1.0), job("zhigh", 10.0, arrival=2.0, priority=1)]
    for policy in ("fifo", "ours"):
        assert list(simulate(policy, jobs).waits) == [0.0, 8.0, 19.0]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_task_that_no_node_takes_is_counted_and_holds_up_nobody(policy: str) -> None:
    jobs = [job("huge", 10.0, images=1000), job("small", 10.0, arrival=1.0)]
    records = simulate(policy, jobs, Machine(max_images=500))
    assert (len(records.waits), records.never, records.last) == (1, 1, 11.0)


JOBS = st.lists(
    st.builds(
        Job,
        id=st.integers(0, 999).map(lambda number: TaskId(f"t{number:03}")),
        arrival=st.sampled_from([0.0, 0.0, 50.0, 300.0, 1000.0]),
        images=st.integers(1, 600),
        bytes=st.sampled_from([0, 1000, 50_000]),
        work=st.floats(1.0, 1000.0),
        owner=st.sampled_from([OwnerId("a"), OwnerId("b"), OwnerId("c")]),
        priority=st.integers(0, 1),
    ),
    max_size=25,
    unique_by=lambda each: each.id,
)
MACHINES = st.lists(
    st.builds(
        Machine,
        speed=st.sampled_from([0.5, 1.0, 2.0]),
        slots=st.integers(1, 2),
        max_images=st.sampled_from([None, 100, 500]),
        price=st.just(1.0),
    ),
    min_size=1,
    max_size=4,
)


@given(JOBS, MACHINES, st.sampled_from(sorted(POLICIES)))
def test_every_task_that_fits_a_node_is_processed_once(
    jobs: list[Job], machines: list[Machine], policy: str
) -> None:
    records = simulate(policy, jobs, *machines)
    largest = max(machine.max_images or 10**9 for machine in machines)
    fitting = [each for each in jobs if each.images <= largest]
    assert len(records.waits) == len(fitting)
    assert records.never == len(jobs) - len(fitting)
    assert all(wait >= 0 for wait in records.waits)
    work = sum(each.work for each in fitting)
    fastest, slowest = max(each.speed for each in machines), min(each.speed for each in machines)
    assert work / fastest <= records.busy * (1 + 1e-9) <= work / slowest * (1 + 2e-9)
    figures = Figures.of(records, machines, None)
    assert 0 <= figures.utilisation <= 1 + 1e-9
    assert figures.cost == pytest.approx(figures.machine_hours)


@given(JOBS, st.integers(1, 4), st.sampled_from(sorted(POLICIES)))
def test_no_run_beats_the_bound_and_none_that_binds_late_is_far_above_it(
    jobs: list[Job], count: int, policy: str
) -> None:
    together = [job(each.id, each.work, images=each.images) for each in jobs]
    machines = [Machine()] * count
    bound = lower_bound(together, machines)
    if bound is not None:
        last = simulate(policy, together, *machines).last
        assert last >= bound * (1 - 1e-9)
        if POLICIES[policy].late:
            average, longest = sum(each.work for each in jobs) / count, max(each.work for each in jobs)
            assert last <= (average + longest) * (1 + 1e-9)
