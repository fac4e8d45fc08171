from __future__ import annotations

from dataclasses import replace

import pytest

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.cluster import Cluster
from clusterodm_py.simulation.model import Alone, Job, Machine, Spread, Wires
from clusterodm_py.simulation.policies import POLICIES
from clusterodm_py.simulation.records import Records

WIRES = Wires(client=1e9, cluster=100.0)


def parent(submodels: int, work: float = 100.0, size: int = 0) -> Job:
    parts = tuple(
        Job(id=TaskId(f"part-{number:02}"), images=10, bytes=size, work=work) for number in range(submodels)
    )
    return Job(id=TaskId("parent"), images=500, stages=(Alone(10.0), Spread(parts), Alone(20.0)))


def simulate(policy: str, jobs: list[Job], machines: int) -> Records:
    return Cluster((Machine(),) * machines, POLICIES[policy], WIRES).run(jobs)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_parent_with_one_submodel_does_it_itself(policy: str) -> None:
    assert simulate(policy, [parent(1)], 1).last == 10.0 + 100.0 + 20.0


@pytest.mark.parametrize("policy", POLICIES)
def test_submodels_run_on_all_nodes_while_the_parent_holds_one(policy: str) -> None:
    records = simulate(policy, [parent(4)], 4)
    assert records.last == 10.0 + 100.0 + 20.0
    assert records.busy == 10.0 + 4 * 100.0 + 20.0


def test_submodels_are_uploaded_one_after_the_other() -> None:
    records = simulate("pipelined", [parent(4, size=1000)], 4)
    assert records.last == 10.0 + 3 * 10.0 + 100.0 + 20.0


def test_submodels_that_wait_here_start_as_soon_as_a_node_is_free() -> None:
    assert simulate("ours", [parent(7)], 4).last == 10.0 + 2 * 100.0 + 20.0


def test_a_client_that_was_told_to_queue_never_has_more_on_the_cluster_than_ran_then() -> None:
    others = [
        Job(id=TaskId(f"other-{number}"), images=9, work=60.0, owner=OwnerId("other")) for number in range(2)
    ]
    jobs = [parent(10), *others]
    assert simulate("eager", jobs, 4).last == 10.0 + 5 * 100.0 + 20.0
    assert simulate("fifo", jobs, 4).last < 10.0 + 4 * 100.0 + 20.0


def test_submodels_wait_for_a_slot_before_other_tasks_of_their_owner() -> None:
    later = Job(id=TaskId("another"), images=9, work=1000.0, arrival=15.0)
    assert simulate("ours", [parent(3), later], 2).last == 10.0 + 2 * 100.0 + 1000.0


def test_a_client_whose_submodels_find_no_room_tries_again_and_leaves_nothing_behind() -> None:
    other = Job(id=TaskId("other"), images=9, work=300.0, owner=OwnerId("other"))
    later = Job(id=TaskId("later"), images=9, work=1.0, arrival=5000.0)
    records = simulate("eager", [parent(3), other, later], 2)
    assert records.last == 5001.0
    assert records.busy == 10.0 + 3 * 100.0 + 20.0 + 300.0 + 1.0
    assert len(records.lone_waits) == 3


def test_a_parent_tells_nothing_of_the_speed_of_its_node() -> None:
    jobs = []
    for number in range(3):
        split = replace(parent(1), id=TaskId(f"parent-{number}"), images=50, arrival=number * 1000.0)
        plain = Job(id=TaskId(f"plain-{number}"), images=50, work=24.0, arrival=number * 1000.0 + 1)
        jobs += [split, plain]
    jobs += [
        Job(id=TaskId(f"last-{number}"), images=5, work=60.0, arrival=9000.0 + 100 * number)
        for number in range(2)
    ]
    records = Cluster((Machine(speed=1.0), Machine(speed=1.2)), POLICIES["faster"], WIRES).run(jobs)
    assert records.busy == pytest.approx(3 * 130.0 + 3 * 20.0 + 60.0 + 50.0)
