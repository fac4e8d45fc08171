"""NodeODM's JSON and query strings to and from our nouns (contract §1.3, §2). Tolerant of nodes, strict to clients.

Headers, output lines and file names have their own modules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_plus

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.lifecycle import public_status
from clusterodm_py.core.placement import reference
from clusterodm_py.core.types import (
    ACTIVE,
    ENDED,
    Json,
    Limits,
    NodeInfo,
    NodeView,
    Task,
    TaskReport,
    TaskState,
    TaskStatus,
    Token,
)

API_VERSION: Final = "1.5.3"
"""The NodeODM API level we claim: PyODM and WebODM choose their calls by it (contract §11.1)."""

LARGEST_STORED: Final = 2**31 - 1
"""WebODM's columns for taskQueueCount and maxImages; more breaks its write (contract §11.3)."""

_LARGEST_EXACT: Final = 2**53
"""Beyond it JSON numbers are not exact, so no node means one."""

_UUID: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)


def valid_uuid(text: str) -> bool:
    """Whether a client may ask for this id by `set-uuid`: versions 1-8, any case (contract §1.7)."""
    return _UUID.fullmatch(text) is not None


# -- nodes ------------------------------------------------------------------------------------------------------------


def parse_node_info(answer: Json) -> NodeInfo:
    """A node's `/info`; what it did not say, or said in a wrong type, is None.

    Raises BadRequest with the node's own text when it answered with an error, or when this is no object.
    """
    said = _object(answer)
    return NodeInfo(
        version=_text(said.get("version")),
        engine=_text(said.get("engine")),
        engine_version=_text(said.get("engineVersion")),
        task_queue_count=_count(said.get("taskQueueCount")),
        max_parallel_tasks=_count(said.get("maxParallelTasks")),
        max_images=_count(said.get("maxImages")),
        total_memory=_count(said.get("totalMemory")),
        available_memory=_count(said.get("availableMemory")),
        cpu_cores=_count(said.get("cpuCores")),
    )


def info_json(views: Sequence[NodeView], limits: Limits, *, waiting: int, version: str) -> dict[str, Json]:
    """Our own `/info`: NodeODM's nine keys for the cluster as a whole, and `cluster` for those who know us.

    `waiting` counts only tasks that no node has room for: clients read it as "busy". `version` is this program's.
    """
    online = [view for view in views if view.online]
    offered = [view for view in online if not view.node.locked]
    known = [view.info for view in online if view.info]
    first = reference(views)
    engine = (first.info if first else None) or NodeInfo()
    slots = sum(view.slots for view in offered)
    return {
        "version": API_VERSION,
        "taskQueueCount": min(waiting, LARGEST_STORED),
        "totalMemory": sum(info.total_memory or 0 for info in known),
        "availableMemory": sum(info.available_memory or 0 for info in known),
        "cpuCores": sum(info.cpu_cores or 0 for info in known),
        "maxImages": _max_images(offered, limits.max_images),
        "maxParallelTasks": slots if limits.max_concurrent is None else limits.max_concurrent,
        "engineVersion": (engine.engine_version or "?")[:32],  # WebODM's column
        "engine": engine.engine or "?",
        "cluster": {
            "nodes": len(views),
            "online": len(online),
            "slots": slots,
            "free": sum(view.free for view in offered),
            "queued": sum(view.queued for view in online),
            "version": version,
        },
    }


def _max_images(offered: Sequence[NodeView], limit: int | None) -> int | None:
    """The largest task that could be placed now: what the caller may send and what some node takes.

    Null, not a huge number, is "unlimited" to every client. Without nodes only the caller's limit is known.
    """
    sizes = [view.info.max_images if view.info else None for view in offered]
    largest = max((size for size in sizes if size), default=0) if all(sizes) else 0
    known = [bound for bound in (limit, largest or None) if bound is not None]
    return min(max(0, min(known)), LARGEST_STORED) if known else None


# -- tasks ------------------------------------------------------------------------------------------------------------


def parse_task_report(answer: Json) -> TaskReport:
    """A node's task JSON (contract §2.2).

    Raises BadRequest with the node's own text when it answered with an error, or when there is no known status code:
    every client fails on those.
    """
    said = _object(answer)
    status = said.get("status")
    if not isinstance(status, dict):
        raise BadRequest("The task's JSON has no status.")
    spent = _integer(said.get("processingTime"))
    return TaskReport(
        raw=_raw(said),
        status=_status(status.get("code")),
        progress=_progress(said.get("progress")),
        processing_time=-1 if spent is None else spent,
        images=_count(said.get("imagesCount")) or 0,
        error=_text(status.get("errorMessage")) or None,
    )


def held_task_json(task: Task, now: float, output: Sequence[str] | None = None) -> dict[str, Json]:
    """The task JSON of a task that no node answers for (contract §2.3); `output` only when it was asked for.

    processingTime runs from the commit while the task is active, and is -1 otherwise. Progress is 100 once it
    finished or failed, as NodeODM has it, and 0 before: nothing of what a client waits for is done yet.
    """
    created = task.request.date_created
    over = task.state in (TaskState.FINISHED, TaskState.FAILED)
    answer: dict[str, Json] = {
        "uuid": task.id,
        "name": task.request.name or f"Task of {_iso(task.created)}",
        "dateCreated": round(task.created * 1000) if created is None else created,
        "processingTime": _processing_time(task, now),
        "status": _status_json(task),
        "options": [{"name": option.name, "value": option.value} for option in task.options],
        "imagesCount": task.images,
        "progress": 100 if over else 0,
    }
    return answer if output is None else answer | {"output": list(output)}


def last_known_json(task: Task, now: float, output: Sequence[str] | None = None) -> dict[str, Json]:
    """The node's last word with our state and lines, for a task whose node cannot be asked (contract §12.1.7).

    A task that left its node again is told as one we hold: what the former node said of it is void.
    """
    held = held_task_json(task, now, output)
    if task.report is None or not (task.state is TaskState.ON_NODE or task.state in ENDED):
        return held
    said: dict[str, Json] = json.loads(task.report.raw)
    ours = {key: held[key] for key in ("uuid", "status", "output") if key in held}
    return held | said | ours


def _processing_time(task: Task, now: float) -> int:
    if task.state not in ACTIVE or task.committed is None:
        return -1
    return max(0, round((now - task.committed) * 1000))


def _status_json(task: Task) -> dict[str, Json]:
    status: dict[str, Json] = {"code": int(public_status(task))}
    error = task.error or (task.report.error if task.report else None)
    if error and task.state is TaskState.FAILED:  # WebODM shows it whatever the code
        status["errorMessage"] = error
    return status


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- queries ----------------------------------------------------------------------------------------------------------


def node_query(raw_query: str, node_token: Token) -> str:
    """The query for a node: never the user's token, the node's own if it has one, the rest byte for byte."""
    kept = [part for name, _, part in _pairs(raw_query) if not _is_token(name)]
    ours = [f"token={quote(node_token.value, safe='')}"] if node_token else []
    return "&".join(kept + ours)


def user_token(raw_query: str) -> Token | None:
    """The token the caller gave; an empty one is none.

    Raises BadRequest when it is given more than once: such a request matches no token (contract §1.0.2), so faces
    answer it with 401.
    """
    given = [value for name, value, _ in _pairs(raw_query) if name == "token"]
    if len(given) > 1:
        raise BadRequest("The token is given more than once.")
    return Token(given[0]) if given and given[0] else None


def asks_for_401(raw_query: str) -> bool:
    """Whether `_debugUnauthorized` is given and true by JavaScript's measure: any text, or given twice."""
    given = [value for name, value, _ in _pairs(raw_query) if name == "_debugUnauthorized"]
    return len(given) > 1 or any(given)


def _pairs(raw_query: str) -> Iterator[tuple[str, str, str]]:
    """Name and value, decoded, and the text they stood in."""
    for part in raw_query.split("&") if raw_query else ():
        name, _, value = part.partition("=")
        yield unquote_plus(name), unquote_plus(value), part


def _is_token(name: str) -> bool:
    """NodeODM's parser also takes `token[]=` and `token[x]=` for the token."""
    return name == "token" or name.startswith("token[")


# -- values of unknown type -------------------------------------------------------------------------------------------


def _object(answer: Json) -> dict[str, Json]:
    if not isinstance(answer, dict):
        raise BadRequest("The answer is not a JSON object.")
    if "error" in answer:
        raise BadRequest(_text(answer["error"]) or "The answer is an error without a text.")
    return answer


def _raw(said: dict[str, Json]) -> str:
    """ASCII, so that a lone surrogate in a file name of the node's can be stored and sent."""
    try:
        return json.dumps({key: value for key, value in said.items() if key != "output"}, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadRequest("The task's JSON cannot be kept.") from None


def _status(code: Json) -> TaskStatus:
    try:
        return TaskStatus(_integer(code) or 0)
    except ValueError:
        raise BadRequest("The task's status code is not one of NodeODM's.") from None


def _progress(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(
        min(100, max(0, value))
    )  # compared before converted: huge integers become no float, NaN becomes 0


def _integer(value: Json) -> int | None:
    match value:
        case bool():
            return None
        case int() | float() if abs(value) <= _LARGEST_EXACT and value == int(value):
            return int(value)
        case _:
            return None


def _count(value: Json) -> int | None:
    number = _integer(value)
    return number if number is not None and number >= 0 else None


def _text(value: Json) -> str | None:
    """Text that can be stored and sent: lone surrogates are replaced."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None
