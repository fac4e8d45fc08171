from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import (
    NOBODY,
    Address,
    Health,
    Json,
    Limits,
    Node,
    NodeInfo,
    NodeView,
    OptionValue,
    Task,
    TaskId,
    TaskReport,
    TaskRequest,
    TaskState,
    TaskStatus,
)
from clusterodm_py.core.wire import (
    held_task_json,
    info_json,
    last_known_json,
    parse_node_info,
    parse_task_report,
)

NODE_INFO: dict[str, Json] = {
    "version": "2.2.4",
    "taskQueueCount": 3,
    "totalMemory": 16_000_000_000,
    "availableMemory": 8_000_000_000,
    "cpuCores": 8,
    "maxImages": 500,
    "maxParallelTasks": 2,
    "engineVersion": "3.5.4",
    "engine": "odm",
}

TASK_JSON: dict[str, Json] = {
    "uuid": "0b6d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a90",
    "name": "Fields",
    "dateCreated": 1_700_000_000_123,
    "processingTime": 4200,
    "status": {"code": 20},
    "options": [{"name": "dsm", "value": True}, {"name": "cog", "value": True}],
    "imagesCount": 12,
    "progress": 41.5,
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def task(state: TaskState, *, report: TaskReport | None = None, error: str | None = None) -> Task:
    return Task(
        id=TaskId("id-1"),
        owner=NOBODY,
        state=state,
        request=TaskRequest(),
        created=1_700_000_000.25,
        accessed=0.0,
        committed=None if state is TaskState.SPOOLING else 1_700_000_010.0,
        options=(OptionValue("dsm", True), OptionValue("crop", 3)),
        images=7,
        error=error,
        report=report,
    )


def node_view(
    info: NodeInfo | None = None, *, health: Health = Health.UP, locked: bool = False, in_flight: int = 0
) -> NodeView:
    node = Node(address=Address("n", 3000), locked=locked)
    return NodeView(node=node, info=info, health=health, in_flight=in_flight)


def info(*views: NodeView, limits: Limits | None = None, waiting: int = 0) -> dict[str, Json]:
    return info_json(views, limits or Limits(), waiting=waiting, version="9.9.9")


# -- /info of a node --------------------------------------------------------------------------------------------------


def test_a_nodes_info_is_read() -> None:
    assert parse_node_info(NODE_INFO) == NodeInfo(
        version="2.2.4",
        engine="odm",
        engine_version="3.5.4",
        task_queue_count=3,
        max_parallel_tasks=2,
        max_images=500,
        total_memory=16_000_000_000,
        available_memory=8_000_000_000,
        cpu_cores=8,
    )


@pytest.mark.parametrize(
    "wrong", [None, "7", True, -1, 1.5, float("inf"), float("nan"), pytest.param(10**400, id="huge"), [], {}]
)
def test_a_count_of_a_wrong_type_is_not_known(wrong: Json) -> None:
    assert parse_node_info(NODE_INFO | {"maxImages": wrong, "taskQueueCount": wrong}) == replace(
        parse_node_info(NODE_INFO), max_images=None, task_queue_count=None
    )


@pytest.mark.parametrize("wrong", [None, 7, True, [], {}])
def test_a_text_of_a_wrong_type_is_not_known(wrong: Json) -> None:
    assert parse_node_info({"version": wrong, "engine": wrong, "engineVersion": wrong}) == NodeInfo()


def test_a_whole_number_with_a_point_counts() -> None:
    assert parse_node_info({"cpuCores": 8.0}).cpu_cores == 8


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (NODE_INFO | {"error": "Invalid authentication token"}, "Invalid authentication token"),
        ({"error": {}}, "without a text"),
        ([], "not a JSON object"),
        (None, "not a JSON object"),
    ],
)
def test_an_error_is_no_info_and_no_report(answer: Json, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        parse_node_info(answer)
    with pytest.raises(BadRequest, match=text):
        parse_task_report(answer)


@given(JSON)
def test_any_json_is_an_info_or_a_bad_request(answer: Json) -> None:
    try:
        parse_node_info(answer)
    except BadRequest:
        assert not isinstance(answer, dict) or "error" in answer


# -- our /info --------------------------------------------------------------------------------------------------------


def test_without_nodes_the_engine_is_a_question_mark() -> None:
    assert info() == {
        "version": "1.5.3",
        "taskQueueCount": 0,
        "totalMemory": 0,
        "availableMemory": 0,
        "cpuCores": 0,
        "maxImages": None,
        "maxParallelTasks": 0,
        "engineVersion": "?",
        "engine": "?",
        "cluster": {"nodes": 0, "online": 0, "slots": 0, "free": 0, "queued": 0, "version": "9.9.9"},
    }


def test_the_cluster_is_the_sum_of_what_is_online() -> None:
    known = parse_node_info(NODE_INFO)
    answer = info(
        node_view(replace(known, engine="lost"), health=Health.DOWN),
        node_view(known, locked=True),
        node_view(replace(known, engine="other", max_parallel_tasks=9), health=Health.SHAKY, in_flight=2),
        node_view(None),
        waiting=5,
    )
    assert answer == {
        "version": "1.5.3",
        "taskQueueCount": 5,
        "totalMemory": 32_000_000_000,
        "availableMemory": 16_000_000_000,
        "cpuCores": 16,
        "maxImages": None,
        "maxParallelTasks": 9,
        "engineVersion": "3.5.4",
        "engine": "odm",
        "cluster": {"nodes": 4, "online": 3, "slots": 9, "free": 4, "queued": 6, "version": "9.9.9"},
    }


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ((), None, None),
        ((), 20, 20),
        ((100, 300), None, 300),
        ((100, None), None, None),
        ((100, 0), None, None),
        ((100, None), 20, 20),
        ((100,), 20, 20),
        ((100,), 200, 100),
        ((100,), 0, 0),
        ((2**40,), None, 2**31 - 1),
        ((), 2**40, 2**31 - 1),
    ],
)
def test_max_images_is_the_largest_task_that_could_be_placed(
    sizes: tuple[int | None, ...], limit: int | None, expected: int | None
) -> None:
    views = [node_view(NodeInfo(max_images=size)) for size in sizes]
    idle = [
        node_view(NodeInfo(max_images=9000), locked=True),
        node_view(NodeInfo(max_images=9000), health=Health.DOWN),
    ]
    assert info(*views, *idle, limits=Limits(max_images=limit))["maxImages"] == expected


@pytest.mark.parametrize("limit", [0, 3])
def test_a_tokens_concurrency_shows_as_parallel_tasks(limit: int) -> None:
    views = [node_view(NodeInfo(max_parallel_tasks=8))]
    assert info(*views, limits=Limits(max_concurrent=limit))["maxParallelTasks"] == limit


def test_what_webodm_stores_fits_its_columns() -> None:
    answer = info(node_view(NodeInfo(engine_version="v" * 99, max_images=2**45)), waiting=2**40)
    assert answer["taskQueueCount"] == answer["maxImages"] == 2**31 - 1
    assert answer["engineVersion"] == "v" * 32


# -- task JSON of a node ----------------------------------------------------------------------------------------------


def test_a_report_keeps_the_nodes_words_without_output() -> None:
    report = parse_task_report(TASK_JSON | {"output": ["a", "b"]})
    assert report == TaskReport(
        raw=json.dumps(TASK_JSON), status=TaskStatus.RUNNING, progress=41.5, processing_time=4200, images=12
    )


def test_a_failure_tells_why() -> None:
    report = parse_task_report(TASK_JSON | {"status": {"code": 30, "errorMessage": "Not enough memory"}})
    assert (report.status, report.error) == (TaskStatus.FAILED, "Not enough memory")


@pytest.mark.parametrize(
    "status", [None, 20, {}, {"code": 0}, {"code": 25}, {"code": "20"}, {"code": True}, [20]]
)
def test_a_report_without_a_known_status_is_refused(status: Json) -> None:
    with pytest.raises(BadRequest, match="status"):
        parse_task_report(TASK_JSON | {"status": status})


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0, 0.0),
        (100, 100.0),
        (-3, 0.0),
        (250, 100.0),
        ("50", 0.0),
        (True, 0.0),
        (None, 0.0),
        pytest.param(10**400, 100.0, id="huge"),
    ],
)
def test_progress_is_a_percentage(progress: Json, expected: float) -> None:
    assert parse_task_report({"status": {"code": 10}, "progress": progress}).progress == expected


def test_what_a_node_leaves_out_has_a_default() -> None:
    report = parse_task_report({"status": {"code": 10, "errorMessage": ""}, "imagesCount": "x"})
    assert (report.processing_time, report.images, report.error) == (-1, 0, None)


def test_a_number_that_is_none_cannot_be_kept() -> None:
    with pytest.raises(BadRequest, match="cannot be kept"):
        parse_task_report({"status": {"code": 10}, "x": float("nan")})


@given(JSON, st.sampled_from([10, 20, 30, 40, 50]))
def test_a_report_can_always_be_stored_and_read_back(extra: Json, code: int) -> None:
    said: dict[str, Json] = {
        "status": {"code": code, "errorMessage": "\ud800"},
        "extra": extra,
        "progress": extra,
    }
    try:
        report = parse_task_report(said)
    except BadRequest:
        assert "NaN" in json.dumps(extra) or "Infinity" in json.dumps(extra)
        return
    assert json.loads(report.raw.encode()) == said
    assert report.error == "?"
    assert 0 <= report.progress <= 100


@given(JSON)
def test_any_json_is_a_report_or_a_bad_request(answer: Json) -> None:
    with pytest.raises(BadRequest):  # none of these has a status code
        parse_task_report(answer)


# -- task JSON of ours ------------------------------------------------------------------------------------------------


def test_a_held_task_has_every_key_clients_need() -> None:
    assert held_task_json(task(TaskState.QUEUED), 1_700_000_012.5) == {
        "uuid": "id-1",
        "name": "Task of 2023-11-14T22:13:20.250Z",
        "dateCreated": 1_700_000_000_250,
        "processingTime": 2500,
        "status": {"code": 20},
        "options": [{"name": "dsm", "value": True}, {"name": "crop", "value": 3}],
        "imagesCount": 7,
        "progress": 0,
    }


def test_what_the_client_named_is_kept() -> None:
    named = replace(task(TaskState.QUEUED), request=TaskRequest(name="Fields", date_created=0))
    answer = held_task_json(named, 0.0)
    assert (answer["name"], answer["dateCreated"]) == ("Fields", 0)


def test_a_moment_without_fraction_is_still_written_like_javascript() -> None:
    whole = replace(task(TaskState.QUEUED), created=0.0)
    assert held_task_json(whole, 0.0)["name"] == "Task of 1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("state", TaskState)
def test_time_runs_only_while_a_task_is_active(state: TaskState) -> None:
    running = {TaskState.QUEUED, TaskState.PUSHING, TaskState.COMMITTING, TaskState.ON_NODE}
    spent = held_task_json(task(state), 1_700_000_011.0)["processingTime"]
    assert spent == (1000 if state in running else -1)


def test_a_clock_set_back_does_not_show() -> None:
    assert held_task_json(task(TaskState.QUEUED), 0.0)["processingTime"] == 0


@pytest.mark.parametrize(
    ("state", "progress"),
    [(TaskState.FAILED, 100), (TaskState.FINISHED, 100), (TaskState.CANCELED, 0), (TaskState.PUSHING, 0)],
)
def test_progress_ends_as_nodeodm_ends_it(state: TaskState, progress: int) -> None:
    assert held_task_json(task(state), 0.0)["progress"] == progress


def test_output_is_given_only_when_asked_for() -> None:
    held = task(TaskState.QUEUED)
    assert "output" not in held_task_json(held, 0.0)
    assert held_task_json(held, 0.0, [])["output"] == []
    assert held_task_json(held, 0.0, ("a",))["output"] == ["a"]


def test_only_a_failed_task_shows_its_error() -> None:
    assert held_task_json(task(TaskState.FAILED, error="no room"), 0.0)["status"] == {
        "code": 30,
        "errorMessage": "no room",
    }
    assert held_task_json(task(TaskState.QUEUED, error="no room"), 0.0)["status"] == {"code": 20}
    assert held_task_json(task(TaskState.FAILED), 0.0)["status"] == {"code": 30}


def test_the_last_word_of_a_node_is_kept_with_our_state() -> None:
    report = parse_task_report(TASK_JSON)
    answer = last_known_json(task(TaskState.ON_NODE, report=report), 1_700_000_099.0, ["line"])
    assert answer == TASK_JSON | {"uuid": "id-1", "output": ["line"]}


def test_a_task_canceled_while_its_node_is_away_is_canceled() -> None:
    report = parse_task_report(TASK_JSON)
    answer = last_known_json(task(TaskState.CANCELED, report=report), 0.0)
    assert answer == TASK_JSON | {"uuid": "id-1", "status": {"code": 50}}


def test_a_nodes_error_is_passed_on() -> None:
    report = parse_task_report(TASK_JSON | {"status": {"code": 30, "errorMessage": "Unsupported CPU"}})
    failed = task(TaskState.FAILED, report=report)
    assert last_known_json(failed, 0.0)["status"] == {"code": 30, "errorMessage": "Unsupported CPU"}
    assert last_known_json(replace(failed, error="ours"), 0.0)["status"] == {
        "code": 30,
        "errorMessage": "ours",
    }


def test_a_terse_node_still_yields_every_key() -> None:
    report = parse_task_report({"status": {"code": 10}})
    answer = last_known_json(task(TaskState.ON_NODE, report=report), 1_700_000_011.0)
    assert answer == held_task_json(task(TaskState.ON_NODE), 1_700_000_011.0) | {"status": {"code": 10}}


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.PUSHING, TaskState.COMMITTING])
def test_the_word_of_a_former_node_is_void(state: TaskState) -> None:
    moved = task(state, report=parse_task_report(TASK_JSON))
    assert last_known_json(moved, 0.0) == held_task_json(moved, 0.0)


def test_without_a_report_the_last_known_is_what_we_hold() -> None:
    held = task(TaskState.ON_NODE)
    assert last_known_json(held, 0.0, ["a"]) == held_task_json(held, 0.0, ["a"])
