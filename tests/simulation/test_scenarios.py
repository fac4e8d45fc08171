from __future__ import annotations

from random import Random

import pytest

from clusterodm_py.simulation.cluster import Cluster
from clusterodm_py.simulation.model import Job, Spread
from clusterodm_py.simulation.policies import POLICIES
from clusterodm_py.simulation.records import Figures, Records, lower_bound
from clusterodm_py.simulation.scenarios import SCENARIOS


def everyone(jobs: list[Job]) -> list[Job]:
    spreads = [stage for job in jobs for stage in job.stages if isinstance(stage, Spread)]
    return [*jobs, *(submodel for stage in spreads for submodel in stage.submodels)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_decides_a_trace_of_sound_tasks(name: str) -> None:
    jobs = list(SCENARIOS[name].jobs(Random(1)))
    assert jobs == list(SCENARIOS[name].jobs(Random(1)))
    assert jobs != list(SCENARIOS[name].jobs(Random(2)))
    assert [job.arrival for job in jobs] == sorted(job.arrival for job in jobs)
    assert len({job.id for job in everyone(jobs)}) == len(everyone(jobs))
    assert all(job.images > 0 and job.work + len(job.stages) > 0 for job in everyone(jobs))


def run(name: str, policy: str, seed: int = 1) -> tuple[Records, Figures]:
    scenario = SCENARIOS[name]
    jobs = scenario.jobs(Random(seed))
    records = Cluster(scenario.machines, POLICIES[policy], scenario.wires).run(jobs)
    return records, Figures.of(records, scenario.machines, lower_bound(jobs, scenario.machines))


def over_bound(policy: str) -> float:
    return sum(run("heavy-tail", policy, seed)[1].over_bound or 0.0 for seed in range(20)) / 20


def test_of_the_heavy_tail_each_rule_takes_something_away() -> None:
    eager, fifo, ours, known = map(over_bound, ("eager", "fifo", "ours", "known"))
    assert eager > 2.3
    assert fifo < eager - 0.8
    assert ours < fifo - 0.25
    assert ours < 1.3
    assert known < 1.15


def test_submodels_of_a_busy_cluster_use_the_nodes_that_become_free() -> None:
    eager, ours = (run("dar-es-salaam-busy", policy)[1].makespan for policy in ("eager", "ours"))
    assert ours < 0.8 * eager


def test_on_a_public_cluster_a_lone_task_does_not_wait_for_a_campaign() -> None:
    fifo, ours = (run("public-month", policy)[1] for policy in ("fifo", "ours"))
    assert fifo.tasks == ours.tasks > 10_000
    assert ours.lone_p95
    assert fifo.lone_p95
    assert ours.lone_p95 < 0.25 * fifo.lone_p95
    assert 0.6 < ours.utilisation < 0.9
