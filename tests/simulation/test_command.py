from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterodm_py.cli import main
from clusterodm_py.simulation.policies import POLICIES
from clusterodm_py.simulation.report import duration

Output = pytest.CaptureFixture[str]

TRACE = "arrival,images,bytes,seconds,owner\n0,10,0,3600,ann\n0,20,0,3600,ann\n0,10,0,7200,bob\n"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return str(path)


def figures(capsys: Output, *arguments: str) -> dict[str, dict[str, Any]]:
    assert main(["simulate", *arguments, "--json"]) == 0
    found: dict[str, dict[str, Any]] = json.loads(capsys.readouterr().out)["policies"]
    return found


def test_policies_stand_beside_each_other(trace: str, capsys: Output) -> None:
    assert main(["simulate", trace, "--nodes", "2", "--price", "0.5"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:2] == ["trace.csv", "3 tasks, 2 machines, 2 slots; seed 1"]
    assert lines[3].split("  ")[-1].strip() == "cost"
    assert [line.split("  ")[0] for line in lines[4:]] == [policy.title for policy in POLICIES.values()]
    assert said.err == ""


def test_figures_for_scripts(trace: str, capsys: Output) -> None:
    found = figures(capsys, trace, "--nodes", "2", "--price", "0.5")
    assert list(found) == list(POLICIES)
    assert found["eager"]["makespan"] == 3 * 3600
    assert found["larger"]["makespan"] == 2 * 3600
    assert found["larger"]["over_bound"] == 1.0
    assert found["larger"]["cost"] == 2.0
    assert found["larger"]["title"] == "+ larger first"


def test_one_policy_only(trace: str, capsys: Output) -> None:
    assert list(figures(capsys, trace, "--policy", "ours")) == ["ours"]


def test_lists_are_given_to_the_machines_in_turn(trace: str, capsys: Output) -> None:
    known = figures(capsys, trace, "--speeds", "1,4", "--policy", "known")["known"]
    assert known["machine_hours"] * 1800 == known["makespan"]
    five = figures(capsys, trace, "--nodes", "5", "--speeds", "1, 4", "--slots", "2", "--policy", "known")[
        "known"
    ]
    assert five["makespan"] == 1800
    small = figures(capsys, trace, "--max-images", "15,0", "--policy", "fifo")["fifo"]
    assert small["unplaced"] == 0
    assert figures(capsys, trace, "--max-images", "15", "--policy", "fifo")["fifo"]["unplaced"] == 1


def test_wires_and_window_come_from_flags(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival,images,bytes,seconds\n0,10,20000000,10\n0,5,0,100\n1,50,0,100\n")
    slow = figures(capsys, str(path), "--upload-speed", "2", "--cluster-speed", "4", "--policy", "fifo")[
        "fifo"
    ]
    assert slow["makespan"] == 100 + 100 + 5 + 10
    first = figures(capsys, str(path), "--upload-speed", "1e3", "--window", "0", "--policy", "larger")[
        "larger"
    ]
    larger = figures(capsys, str(path), "--upload-speed", "1e3", "--policy", "larger")["larger"]
    assert first["wait_max"] < larger["wait_max"]


def test_tasks_that_no_node_takes_are_told(trace: str, capsys: Output) -> None:
    assert main(["simulate", trace, "--max-images", "15", "--policy", "ours"]) == 0
    assert "no node takes 1 of the tasks" in capsys.readouterr().out


def test_a_scenario_repeats_by_its_seed(capsys: Output) -> None:
    same = [figures(capsys, "--scenario", "heavy-tail", "--runs", "1", "--seed", "3") for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != figures(capsys, "--scenario", "heavy-tail", "--runs", "1", "--seed", "4")


def test_flags_come_before_what_a_scenario_has(capsys: Output) -> None:
    few = figures(capsys, "--scenario", "heavy-tail", "--nodes", "2", "--policy", "ours")["ours"]
    many = figures(capsys, "--scenario", "heavy-tail", "--nodes", "12", "--policy", "ours")["ours"]
    assert few["makespan"] > 2 * many["makespan"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a trace or a --scenario"),
        (["x.csv", "--scenario", "heavy-tail"], "one of them"),
        (["none.csv"], "none.csv cannot be read"),
    ],
)
def test_what_cannot_be_simulated_is_told_on_standard_error(
    arguments: list[str], complaint: str, capsys: Output
) -> None:
    assert main(["simulate", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "flags",
    [
        ["--speeds", "1,0"],
        ["--speeds", "nan"],
        ["--nodes", "0"],
        ["--slots", "1.5"],
        ["--max-images", "-1"],
        ["--price", "-0.1"],
        ["--window", "x"],
        ["--scenario", "none"],
    ],
)
def test_flags_that_mean_nothing_are_refused(flags: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--scenario", "heavy-tail", *flags])
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_durations_are_told_in_two_or_three_digits() -> None:
    seconds = [0.0, 119.0, 120.0, 7199.0, 7200.0, 360_000.0, 864_000.0]
    assert [duration(each) for each in seconds] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
        "100.0 h",
        "10.0 d",
    ]
