from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.speeds import Speed, from_text, learn, pace, to_text
from clusterodm_py.core.types import NodeId

NODE = NodeId("a:3000")
TASKS = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.1, 1e6)), max_size=30)


def learned(*tasks: tuple[int, float]) -> Speed | None:
    speed = None
    for images, seconds in tasks:
        speed = learn(speed, images, seconds)
    return speed


def test_two_tasks_are_too_few_to_know() -> None:
    assert pace(None) is None
    assert pace(learned((500, 1000.0), (500, 1000.0))) is None
    assert pace(learned(*[(500, 1000.0)] * 3)) == pytest.approx(2.0)


def test_any_number_of_tiny_trials_below_fifty_images_is_too_little() -> None:
    assert pace(learned(*[(1, 9.0)] * 49)) is None
    assert pace(learned(*[(1, 9.0)] * 50)) == pytest.approx(9.0)


@given(TASKS)
def test_a_known_pace_lies_between_the_fastest_and_the_slowest_task(tasks: list[tuple[int, float]]) -> None:
    found = pace(learned(*tasks))
    if found is not None:
        each = [seconds / images for images, seconds in tasks]
        assert min(each) * (1 - 1e-9) <= found <= max(each) * (1 + 1e-9)


@given(st.floats(0.01, 100.0), st.integers(0, 1000))
def test_the_typical_pace_is_found_among_tasks_of_very_different_options(usual: float, seed: int) -> None:
    random, tasks = Random(seed), []
    for _ in range(60):
        images = random.randint(20, 800)
        tasks.append((images, images * usual * random.lognormvariate(0, 0.3)))
    assert pace(learned(*tasks)) == pytest.approx(usual, rel=0.6)


def test_one_task_out_of_all_proportion_changes_little() -> None:
    usual = [(100, 200.0)] * 10
    assert pace(learned(*usual, (100, 200_000.0))) == pytest.approx(2.0, rel=0.3)
    assert pace(learned(*usual, (50_000, 400_000.0))) == pytest.approx(2.0, rel=0.9)


def test_a_node_that_became_faster_is_seen_to_be_after_a_score_of_tasks() -> None:
    assert pace(learned(*[(100, 800.0)] * 50, *[(100, 100.0)] * 30)) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(
    ("images", "seconds"), [(0, 5.0), (10, 0.0), (10, -3.0), (10, math.inf), (10, math.nan)]
)
def test_a_task_without_images_or_time_teaches_nothing(images: int, seconds: float) -> None:
    before = learned((100, 200.0))
    assert learn(before, images, seconds) == before
    assert learn(None, images, seconds) is None


@given(st.dictionaries(st.text(), TASKS))
def test_text_brings_back_what_was_known(nodes: dict[str, list[tuple[int, float]]]) -> None:
    speeds = {NodeId(node): speed for node, tasks in nodes.items() if (speed := learned(*tasks))}
    assert from_text(to_text(speeds)) == speeds


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["tasks", "images", "weight", "mean", "a:1"]), inner)
        ),
    )
)
def test_no_json_is_too_strange(value: object) -> None:
    for speed in from_text(json.dumps(value)).values():
        assert (pace(speed) or 1.0) > 0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "3",
        '{"a:1": {"tasks": 1}}',
        '{"a:1": {"tasks": 9, "images": 99, "weight": 1e5, "mean": 1e9}}',
    ],
)
def test_what_cannot_be_read_is_learned_again(text: str | None) -> None:
    assert from_text(text) == {}
