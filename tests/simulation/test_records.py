from __future__ import annotations

import pytest

from clusterodm_py.core.types import OwnerId, TaskId
from clusterodm_py.simulation.model import Alone, Job, Machine
from clusterodm_py.simulation.records import Figures, Records, lower_bound, percentile


def jobs(*works: float) -> list[Job]:
    return [Job(id=TaskId(str(number)), images=1, work=work) for number, work in enumerate(works)]


@pytest.mark.parametrize(
    ("works", "speeds", "bound"),
    [
        ((6.0, 6.0, 6.0), (1.0, 1.0), 9.0),
        ((10.0, 1.0), (1.0, 1.0), 10.0),
        ((10.0, 1.0), (1.0, 2.0), 5.0),
        ((10.0, 10.0, 1.0), (2.0, 1.0, 1.0), 20.0 / 3),
        ((4.0,), (0.5, 0.5), 8.0),
    ],
)
def test_the_bound_is_that_of_machines_of_different_speed(
    works: tuple[float, ...], speeds: tuple[float, ...], bound: float
) -> None:
    assert lower_bound(jobs(*works), [Machine(speed=speed) for speed in speeds]) == pytest.approx(bound)


def test_slots_count_as_machines_of_the_bound() -> None:
    assert lower_bound(jobs(6.0, 6.0, 6.0, 6.0), [Machine(slots=2), Machine()]) == 8.0


def test_there_is_no_bound_for_tasks_that_come_one_after_the_other_nor_for_splits() -> None:
    later = Job(id=TaskId("later"), images=1, work=1.0, arrival=5.0)
    split = Job(id=TaskId("split"), images=1, stages=(Alone(5.0),))
    assert lower_bound([*jobs(1.0), later], [Machine()]) is None
    assert lower_bound([split], [Machine()]) is None
    assert lower_bound([], [Machine()]) is None


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 21)]
    assert [percentile(values, percent) for percent in (0, 5, 50, 95, 100)] == [1.0, 1.0, 10.0, 19.0, 20.0]
    assert percentile([], 50) == 0.0


def test_figures_of_a_run() -> None:
    records = Records()
    records.arrived(100.0)
    for owner, wait in (("a", 0.0), ("b", 30.0), ("b", 60.0)):
        records.started(OwnerId(owner), wait, lone=wait < 60)
    records.worked(3600.0)
    records.ended(7300.0)
    figures = Figures.of(records, [Machine(price=2.0), Machine(price=1.0, slots=3)], bound=3600.0)
    assert figures == Figures(
        tasks=3,
        unplaced=0,
        makespan=7200.0,
        over_bound=2.0,
        wait_median=30.0,
        wait_p95=60.0,
        wait_max=60.0,
        lone_p95=30.0,
        utilisation=0.125,
        machine_hours=4.0,
        cost=6.0,
    )
    assert Figures.mean([figures, figures]) == figures


def test_nothing_happened() -> None:
    figures = Figures.of(Records(), [Machine()], None)
    assert (figures.makespan, figures.utilisation, figures.over_bound, figures.lone_p95) == (
        0.0,
        0.0,
        None,
        None,
    )
