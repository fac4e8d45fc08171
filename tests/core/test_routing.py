from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterodm_py.core.routing import (
    AuthInfo,
    CacheClear,
    CommitHook,
    Info,
    Options,
    Root,
    Route,
    StaticAsset,
    TaskAction,
    TaskCommit,
    TaskDownload,
    TaskInfo,
    TaskInit,
    TaskList,
    TaskNew,
    TaskOther,
    TaskOutput,
    TaskUpload,
    Unknown,
    Verb,
    classify,
    needs_token,
)
from clusterodm_py.core.types import TaskId

U = TaskId("0b6d7cd0-5b1c-4c2f-9a11-3f3e5d1f7a90")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

EVERY_CHARACTER = st.text(st.characters())

SEGMENTS = st.one_of(
    st.sampled_from(
        (
            *(
                "task",
                "new",
                "init",
                "upload",
                "commit",
                "list",
                "info",
                "output",
                "download",
                "cancel",
                "remove",
            ),
            *("auth", "options", "cache", "clear", "all.zip", "x.js", "..", ".", "%2e%2e", "a-b-c-d-e", ""),
            *(U, f"x-{U}"),
        )
    ),
    EVERY_CHARACTER,
)
PATHS = st.one_of(st.lists(SEGMENTS, max_size=6).map(lambda parts: "/" + "/".join(parts)), EVERY_CHARACTER)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Root()),
        ("/info", Info()),
        ("/options", Options()),
        ("/cache/clear", CacheClear()),
        ("/auth/info", AuthInfo()),
        (f"/task/{U}/bogus", TaskOther(U, "bogus")),
        (f"/task/{U}/download", TaskOther(U, "download")),
        (f"/task/{U}/download/", TaskOther(U, "download/")),
        (f"/task/{U}/info/", TaskOther(U, "info/")),
        (f"/task/{U}/a\nb", TaskOther(U, "a\nb")),
        (f"/task/{U}", Unknown(f"/task/{U}")),
        (f"/task/{U}/", Unknown(f"/task/{U}/")),
        ("/task/1-2-3-4/info", Unknown("/task/1-2-3-4/info")),
        ("/task/1-2-3-4-5-6/info", Unknown("/task/1-2-3-4-5-6/info")),
        ("/task/--__proto__--/info", Unknown("/task/--__proto__--/info")),
        (f"/Task/{U}/info", Unknown(f"/Task/{U}/info")),
        ("/auth/login", Unknown("/auth/login")),
        (f"/task/new/uploads/{U}", Unknown(f"/task/new/uploads/{U}")),
        (f"/task/new/commits/{U}", Unknown(f"/task/new/commits/{U}")),
        ("/swagger.json", Unknown("/swagger.json")),
        ("/nothing", Unknown("/nothing")),
        ("/info/", Unknown("/info/")),
        ("//info", Unknown("//info")),
        ("/Info", Unknown("/Info")),
        ("/index.html", Unknown("/index.html")),
        ("*", Unknown("*")),
        ("", Unknown("")),
    ],
)
def test_some_paths_mean_the_same_by_any_method(method: str, path: str, route: Route) -> None:
    assert classify(method, path) == route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/commit", CommitHook()),
        ("/task/new", TaskNew()),
        ("/task/new/init", TaskInit()),
        (f"/task/new/upload/{U}", TaskUpload(U)),
        (f"/task/new/upload/anything/{U}", TaskUpload(U)),
        ("/task/new/upload", TaskUpload(None)),
        ("/task/new/upload/", TaskUpload(None)),
        (f"/task/new/upload/{U}/", TaskUpload(None)),
        ("/task/new/upload/zzz", TaskUpload(None)),
        (f"/task/new/commit/{U}", TaskCommit(U)),
        ("/task/new/commit", TaskCommit(None)),
        ("/task/new/commit/zzz", TaskCommit(None)),
        ("/task/cancel", TaskAction(Verb.CANCEL)),
        ("/task/remove", TaskAction(Verb.REMOVE)),
        ("/task/restart", TaskAction(Verb.RESTART)),
    ],
)
def test_what_changes_a_task_is_posted(path: str, route: Route) -> None:
    assert classify("POST", path) == route
    for method in set(METHODS) - {"POST"} | {"post"}:
        assert classify(method, path) == Unknown(path)


@pytest.mark.parametrize(
    ("path", "route", "otherwise"),
    [
        ("/task/list", TaskList(), Unknown("/task/list")),
        (f"/task/{U}/info", TaskInfo(U), TaskOther(U, "info")),
        (f"/task/{U}/output", TaskOutput(U), TaskOther(U, "output")),
        (f"/task/{U}/download/all.zip", TaskDownload(U, "all.zip"), TaskOther(U, "download/all.zip")),
        (f"/task/{U}/download/a/b.tif", TaskDownload(U, "a/b.tif"), TaskOther(U, "download/a/b.tif")),
        ("/task/a-b-c-d-e_1/info", TaskInfo(TaskId("a-b-c-d-e_1")), TaskOther(TaskId("a-b-c-d-e_1"), "info")),
    ],
)
def test_what_only_looks_is_got(path: str, route: Route, otherwise: Route) -> None:
    for method in METHODS:
        assert classify(method, path) == (route if method in ("GET", "HEAD") else otherwise)


@pytest.mark.parametrize(
    "suffix", [".css", ".js", ".woff", ".woff2", ".ttf", ".ico", ".png", ".svg", ".gif", ".map", ".eot"]
)
def test_files_of_the_web_page_are_static(suffix: str) -> None:
    path = f"/fonts/thing{suffix}"
    assert classify("GET", path) == StaticAsset() == classify("HEAD", path)
    assert classify("POST", path) == Unknown(path)
    assert classify("GET", path.upper()) == Unknown(path.upper())


@pytest.mark.parametrize(
    "path",
    [
        f"/task/{U}/x.js",
        "/task/list/x.css",
        "/info/x.js",
        "/cache/x.js",
        "/options/x.png",
        "/commit/x.js",
        "/auth/login.js",
        "/TASK/list/x.js",
        "//task/list/x.js",
        "/%74ask/list/x.js",
        "/a/../task/list/x.js",
        f"/css/%2e%2e/task/{U}/download/x.js",
        "task/x.js",
        "x.js",
    ],
)
def test_no_suffix_frees_our_own_paths_of_the_token(path: str) -> None:
    assert needs_token(classify("GET", path))


@pytest.mark.parametrize("climb", ["..", ".", "%2e%2e", "%2E.", "..%2f", "..\\x", "x%5c.."])
def test_a_path_that_may_resolve_to_another_task_is_refused(climb: str) -> None:
    path = f"/task/{U}/{climb}/other/info"
    assert classify("GET", path) == Unknown(path)


@pytest.mark.parametrize("asset", ["a..b", "...", "..a", "all.zip"])
def test_dots_within_a_name_are_no_climb(asset: str) -> None:
    assert classify("GET", f"/task/{U}/download/{asset}") == TaskDownload(U, asset)


def test_three_routes_need_no_token() -> None:
    free = {classify("GET", "/css/a.css"), classify("POST", "/commit"), classify("GET", "/auth/info")}
    assert free == {StaticAsset(), CommitHook(), AuthInfo()}
    assert not any(needs_token(route) for route in free)
    for route in (Root(), Info(), Options(), TaskList(), TaskInfo(U), TaskUpload(None), Unknown("/x")):
        assert needs_token(route)


@given(st.one_of(st.sampled_from(METHODS), EVERY_CHARACTER), PATHS)
@example("GET", "/task/" + "a" * 8000 + "/info")
@example("POST", "/task/new/upload/" + "a-" * 4000)
def test_any_text_has_one_route(method: str, path: str) -> None:
    route = classify(method, path)
    match route:
        case TaskInfo(task) | TaskOutput(task) | TaskDownload(task, _) | TaskOther(task, _):
            assert path.startswith(f"/task/{task}/")
            assert task.count("-") == 4
        case TaskUpload(str(task)) | TaskCommit(str(task)):
            assert path.endswith(f"/{task}")
        case Unknown(unchanged):
            assert unchanged == path
        case StaticAsset():
            assert method in ("GET", "HEAD")
            assert "task" not in path.split("/")[1]
        case _:
            assert path.startswith("/")
