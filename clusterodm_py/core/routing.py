"""Which disposition a request gets (contract §1.18), from its method and path alone. Total: never raises.

    GET  /task/<uuid>/info         TaskInfo(uuid)             POST /task/new/upload/<uuid>  TaskUpload(uuid)
    GET  /task/<uuid>/download/a   TaskDownload(uuid, "a")    GET  /css/main.css            StaticAsset()
    PUT  /task/<uuid>/info         TaskOther(uuid, "info")    GET  /Info                    Unknown("/Info")

Paths are as on the wire: percent-encoded, without query, compared exactly. Whether a task exists, and whose it is,
is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import unquote

from clusterodm_py.core.types import TaskId


class Verb(StrEnum):
    """What a client may do to a task (contract §1.15)."""

    CANCEL = "cancel"
    REMOVE = "remove"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class StaticAsset:
    """A file of the web page: the reference node's, without a token."""


@dataclass(frozen=True, slots=True)
class CommitHook:
    """A node tells that a task ended; no user's token."""


@dataclass(frozen=True, slots=True)
class AuthInfo:
    """How to get a token; asked by those who have none."""


@dataclass(frozen=True, slots=True)
class Root:
    """The web page: the reference node's."""


@dataclass(frozen=True, slots=True)
class Info:
    """`/info`, answered by us."""


@dataclass(frozen=True, slots=True)
class Options:
    """`/options`, answered by us."""


@dataclass(frozen=True, slots=True)
class CacheClear:
    """Forget what is cached for this token."""


@dataclass(frozen=True, slots=True)
class TaskNew:
    """A whole task in one request."""


@dataclass(frozen=True, slots=True)
class TaskInit:
    """A task begins; its files follow."""


@dataclass(frozen=True, slots=True)
class TaskUpload:
    """Files of a task. None: the path does not end with a task id."""

    task: TaskId | None


@dataclass(frozen=True, slots=True)
class TaskCommit:
    """All files are there. None: the path does not end with a task id."""

    task: TaskId | None


@dataclass(frozen=True, slots=True)
class TaskList:
    """The caller's tasks."""


@dataclass(frozen=True, slots=True)
class TaskAction:
    """Cancel, remove or restart the task that the body names."""

    verb: Verb


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """How a task goes."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """A task's output lines."""

    task: TaskId


@dataclass(frozen=True, slots=True)
class TaskDownload:
    """A result; `asset` is never empty and may hold slashes."""

    task: TaskId
    asset: str


@dataclass(frozen=True, slots=True)
class TaskOther:
    """Anything else under a task, with any method: only its node can know."""

    task: TaskId
    rest: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing of ours: `Cannot handle <path>`."""

    path: str


Route: TypeAlias = (
    StaticAsset
    | CommitHook
    | AuthInfo
    | Root
    | Info
    | Options
    | CacheClear
    | TaskNew
    | TaskInit
    | TaskUpload
    | TaskCommit
    | TaskList
    | TaskAction
    | TaskInfo
    | TaskOutput
    | TaskDownload
    | TaskOther
    | Unknown
)

_BY_ANY_METHOD: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "/": Root(),
        "/auth/info": AuthInfo(),
        "/cache/clear": CacheClear(),
        "/info": Info(),
        "/options": Options(),
    }
)

_BY_POST: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "/commit": CommitHook(),
        "/task/new": TaskNew(),
        "/task/new/init": TaskInit(),
        **{f"/task/{verb}": TaskAction(verb) for verb in Verb},
    }
)

_UPLOAD: Final = "/task/new/upload"
_COMMIT: Final = "/task/new/commit"

_GET: Final = frozenset({"GET", "HEAD"})

_STATIC_SUFFIXES: Final = (
    ".css",
    ".eot",
    ".gif",
    ".ico",
    ".js",
    ".map",
    ".png",
    ".svg",
    ".ttf",
    ".woff",
    ".woff2",
)

_NEVER_STATIC: Final = frozenset({"auth", "cache", "commit", "info", "options", "task"})
"""First segments that no suffix frees of the token (contract §12 D-31)."""

_TASK_ID: Final = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+){4}")
"""Five dash-separated word groups (contract §1.8, §1.11)."""

_UNDER_TASK: Final = re.compile(rf"/task/({_TASK_ID.pattern})/(.+)", re.DOTALL)


def classify(method: str, path: str) -> Route:
    """The one disposition of this request.

    The paths below exclude each other, so of the order of checks (contract §1.0.2) one thing is left for the caller:
    to check the token, where `needs_token`, before anything else.
    """
    if _climbs(path):
        return Unknown(path)
    return (
        _BY_ANY_METHOD.get(path)
        or (_posted(path) if method == "POST" else None)
        or (_got(path) if method in _GET else None)
        or _under_task(method in _GET, path)
        or Unknown(path)
    )


def needs_token(route: Route) -> bool:
    """Whether the caller's token must be checked before this is answered."""
    return not isinstance(route, StaticAsset | CommitHook | AuthInfo)


def _posted(path: str) -> Route | None:
    if path == _UPLOAD or path.startswith(f"{_UPLOAD}/"):
        return TaskUpload(_last_id(path))
    if path == _COMMIT or path.startswith(f"{_COMMIT}/"):
        return TaskCommit(_last_id(path))
    return _BY_POST.get(path)


def _got(path: str) -> Route | None:
    if path == "/task/list":
        return TaskList()
    return StaticAsset() if _is_static(path) else None


def _under_task(read: bool, path: str) -> Route | None:
    found = _UNDER_TASK.fullmatch(path)
    if found is None:
        return None
    task, rest = TaskId(found[1]), found[2]
    match rest.split("/", 1):
        case ["info"] if read:
            return TaskInfo(task)
        case ["output"] if read:
            return TaskOutput(task)
        case ["download", asset] if read and asset:
            return TaskDownload(task, asset)
        case _:
            return TaskOther(task, rest)


def _last_id(path: str) -> TaskId | None:
    last = path.rpartition("/")[2]
    return TaskId(last) if _TASK_ID.fullmatch(last) else None


def _is_static(path: str) -> bool:
    if not (path.startswith("/") and path.endswith(_STATIC_SUFFIXES)):
        return False
    # Nodes match paths whatever their case, and a server in front of one may decode and merge slashes.
    first = next(filter(None, _segments(path)), "")
    return first.lower() not in _NEVER_STATIC


def _climbs(path: str) -> bool:
    """Whether a server could resolve the path to another: `/task/<mine>/../<yours>/info` would pass for mine."""
    return any(segment in (".", "..") for segment in _segments(path))


def _segments(path: str) -> list[str]:
    return unquote(path).replace("\\", "/").split("/")
