"""The public port, endpoint by endpoint, as contract §1 and §13 have them."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess
from harness.standing import spooled
from harness.tasks import IMAGES, commit, ended, files_form, info, init, status, submit, upload

UNKNOWN = str(uuid.UUID(int=7, version=4))


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    """A proxy without nodes."""
    async with ProxyProcess(tmp_path / "empty") as proxy:
        yield proxy


async def test_info_tells_the_clusters_true_totals(proxy: ProxyProcess, node: SimulatedNode) -> None:
    told = await proxy.get("/info")
    assert told["version"] == "1.5.3"
    assert told["taskQueueCount"] == 0
    assert told["maxImages"] is None
    assert told["maxParallelTasks"] == node.behaviour.slots
    assert told["engine"] == "odm"
    assert told["cpuCores"] > 0
    assert told["totalMemory"] >= told["availableMemory"] > 0
    assert told["cluster"]["online"] == told["cluster"]["nodes"] == 1


async def test_info_without_nodes_still_answers(empty: ProxyProcess) -> None:
    told = await empty.get("/info")
    assert (told["engine"], told["engineVersion"], told["cluster"]["nodes"]) == ("?", "?", 0)


@pytest.mark.parametrize("path", ["/options", "/", "/css/main.css"])
async def test_without_nodes_what_needs_one_is_an_error(empty: ProxyProcess, path: str) -> None:
    assert "error" in await empty.get(path)


async def test_init_without_nodes_is_an_error(empty: ProxyProcess) -> None:
    assert "error" in await init(empty)


async def test_options_are_the_nodes_with_exactly_five_keys(proxy: ProxyProcess, node: SimulatedNode) -> None:
    ours = await proxy.get("/options")
    theirs = await _direct(node, "/options")
    assert ours == theirs
    assert all(list(option) == ["name", "type", "value", "domain", "help"] for option in ours)
    assert all(isinstance(option["value"], str) for option in ours)


async def test_auth_info_needs_no_login(proxy: ProxyProcess) -> None:
    told = await proxy.get("/auth/info")
    assert isinstance(told["message"], str)
    assert told["loginUrl"] is told["registerUrl"] is None


@pytest.mark.parametrize("path", ["/nothing", "/info/", "//info", "/Info", "/task/zzz/info", "/swagger.json"])
async def test_an_unknown_path_is_a_json_error(proxy: ProxyProcess, path: str) -> None:
    async with proxy.session.get(f"{proxy.url}{path}") as response:
        assert (response.status, await response.json()) == (200, {"error": f"Cannot handle {path}"})
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/info/x"])
async def test_a_post_to_nowhere_is_a_json_error(proxy: ProxyProcess, path: str) -> None:
    assert "error" in await proxy.post(path)


async def test_the_nodes_page_is_served(proxy: ProxyProcess) -> None:
    async with proxy.session.get("/") as response:
        assert response.status == 200
        assert "text/html" in response.headers["Content-Type"]
    async with proxy.session.get("/css/main.css") as response:
        assert response.headers["Content-Type"].startswith("text/css")


async def test_debug_unauthorized_forces_a_401(proxy: ProxyProcess) -> None:
    async with proxy.session.get("/info?_debugUnauthorized=1") as response:
        assert response.status == 401


async def test_cors_headers_echo_what_a_page_asks_for(proxy: ProxyProcess) -> None:
    asked = {
        "Origin": "https://webodm.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "set-uuid",
    }
    async with proxy.session.options("/info", headers=asked) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://webodm.example"
        assert response.headers["Access-Control-Allow-Methods"] == "POST"
        assert response.headers["Access-Control-Allow-Headers"] == "set-uuid"
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_init_gives_a_uuid4(proxy: ProxyProcess) -> None:
    assert uuid.UUID((await init(proxy, name="t"))["uuid"]).version == 4


async def test_init_takes_urlencoded_fields(proxy: ProxyProcess) -> None:
    begun = await proxy.post("/task/new/init", data={"name": "urlencoded", "options": "[]"})
    await upload(proxy, begun["uuid"])
    await commit(proxy, begun["uuid"])
    assert (await info(proxy, begun["uuid"]))["name"] == "urlencoded"


@pytest.mark.parametrize("version", range(1, 9))
async def test_set_uuid_takes_any_version_once(proxy: ProxyProcess, version: int) -> None:
    wanted = f"0a1b2c3d-0000-{version}000-8000-{version:012d}"
    assert await init(proxy, uuid=wanted) == {"uuid": wanted}
    assert "Invalid set-uuid" in (await init(proxy, uuid=wanted))["error"]


async def test_a_bad_set_uuid_is_refused(proxy: ProxyProcess) -> None:
    assert "Invalid set-uuid: zzz" in (await init(proxy, uuid="zzz"))["error"]


async def test_every_bad_option_is_listed(proxy: ProxyProcess) -> None:
    bad = json.dumps([{"name": "dsm", "value": "maybe"}, {"name": "fast-orthophoto", "value": "perhaps"}])
    faults = json.loads((await init(proxy, options=bad))["error"])
    assert {fault["name"] for fault in faults} == {"dsm", "fast-orthophoto"}


async def test_options_that_are_no_json_are_an_error(proxy: ProxyProcess) -> None:
    assert "error" in await init(proxy, options="dsm=true")


async def test_unknown_options_are_dropped(proxy: ProxyProcess) -> None:
    task = await submit(proxy, options=[{"name": "no-such", "value": 1}, {"name": "dsm", "value": "true"}])
    assert (await info(proxy, task))["options"][0] == {"name": "dsm", "value": True}


async def test_zipurl_is_refused(proxy: ProxyProcess) -> None:
    assert "URL" in (await init(proxy, zipurl="http://example.com/x.zip"))["error"]


async def test_upload_to_an_unknown_task_is_an_error(proxy: ProxyProcess) -> None:
    assert "Invalid taskId" in (await upload(proxy, UNKNOWN))["error"]
    assert "No uuid found in /task/new/upload/x" in (await proxy.post("/task/new/upload/x"))["error"]


async def test_upload_to_a_committed_task_is_an_error(proxy: ProxyProcess) -> None:
    task = await submit(proxy)
    assert "error" in await upload(proxy, task)


async def test_commit_without_files_keeps_the_task_for_files_to_come(proxy: ProxyProcess) -> None:
    task = (await init(proxy))["uuid"]
    assert "Not enough images (0 files uploaded)" in (await commit(proxy, task))["error"]
    await upload(proxy, task)
    assert await commit(proxy, task) == {"uuid": task}


async def test_commit_of_an_unknown_task_is_an_error(proxy: ProxyProcess) -> None:
    assert "error" in await commit(proxy, UNKNOWN)


async def test_committing_twice_is_committing_once(proxy: ProxyProcess, node: SimulatedNode) -> None:
    task = await submit(proxy)
    assert await commit(proxy, task) == {"uuid": task}
    assert await ended(proxy, task) == 40
    assert await commit(proxy, task) == {"uuid": task}
    assert node.tasks[task].starts == 1


async def test_one_shot_takes_fields_after_the_files(proxy: ProxyProcess) -> None:
    form = files_form(IMAGES)
    form.add_field("name", "late")
    form.add_field("options", json.dumps([{"name": "dsm", "value": True}]))
    task = (await proxy.post("/task/new", data=form))["uuid"]
    assert await ended(proxy, task) == 40
    told = await info(proxy, task)
    assert told["name"] == "late"
    assert told["options"][0] == {"name": "dsm", "value": True}


async def test_one_shot_without_files_is_an_error_and_leaves_nothing(proxy: ProxyProcess) -> None:
    form = aiohttp.FormData({"name": "x"}, default_to_multipart=True)
    assert "Not enough images (0 files uploaded)" in (await proxy.post("/task/new", data=form))["error"]
    assert await proxy.get("/task/list") == []
    assert spooled(proxy) == []


async def test_right_after_the_commit_a_task_is_running_with_all_keys(proxy: ProxyProcess) -> None:
    task = await submit(proxy, name="now")
    told = await info(proxy, task, with_output="-3")
    keys = {"uuid", "name", "dateCreated", "processingTime", "status", "options", "imagesCount"}
    assert keys <= told.keys()
    assert told["imagesCount"] == len(IMAGES)
    assert told["status"]["code"] == 20


async def test_a_task_goes_its_way_to_a_valid_archive(proxy: ProxyProcess, node: SimulatedNode) -> None:
    task = await submit(proxy, name="whole way", options=[{"name": "orthophoto-resolution", "value": "5"}])
    assert await ended(proxy, task) == 40
    told = await info(proxy, task)
    assert (told["progress"], told["name"]) == (100, "whole way")
    assert await proxy.get("/task/list") == [{"uuid": task}]
    assert task in node.tasks
    async with proxy.session.get(f"/task/{task}/download/all.zip") as response:
        archive = await response.read()
        assert response.headers["Content-Type"] == "application/zip"
        assert "attachment" in response.headers["Content-Disposition"]
        assert response.headers["Content-Length"] == str(len(archive))
        assert "Content-Encoding" not in response.headers
    assert archive[:2] == b"PK"
    async with proxy.session.head(f"/task/{task}/download/all.zip") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(archive)))
    assert (await proxy.get(f"/task/{task}/download/foo.tif"))["error"] == "Invalid asset"


async def test_output_is_sliced_as_the_node_slices(proxy: ProxyProcess, node: SimulatedNode) -> None:
    task = await submit(proxy)
    assert await ended(proxy, task) == 40
    lines = await _direct(node, f"/task/{task}/output")
    assert await proxy.get(f"/task/{task}/output") == lines
    assert await proxy.get(f"/task/{task}/output?line=-2") == lines[-2:]
    assert (await info(proxy, task, with_output="-3"))["output"] == lines[-3:]
    assert await proxy.get(f"/task/{task}/output?line=99999") == []


async def test_an_unknown_node_endpoint_is_passed_through(proxy: ProxyProcess) -> None:
    task = await submit(proxy)
    await ended(proxy, task)
    async with proxy.session.get(f"/task/{task}/bogus") as response:
        assert response.status == 404


@pytest.mark.parametrize("encoding", ["data", "json", "multipart"])
async def test_cancel_and_remove_take_every_encoding(proxy: ProxyProcess, encoding: str) -> None:
    task = await submit(proxy)
    assert await _act(proxy, "cancel", task, encoding) == {"success": True}
    assert await status(proxy, task) == 50
    assert await _act(proxy, "remove", task, encoding) == {"success": True}
    assert "error" in await info(proxy, task)
    assert "error" in await _act(proxy, "remove", task, encoding)
    assert await proxy.get("/task/list") == []


@pytest.mark.parametrize("verb", ["cancel", "remove", "restart"])
async def test_actions_on_nothing_are_errors_and_change_nothing(proxy: ProxyProcess, verb: str) -> None:
    assert "error" in await _act(proxy, verb, UNKNOWN, "data")
    assert "error" in await _act(proxy, verb, "__proto__", "data")
    assert "No uuid found" in (await proxy.post(f"/task/{verb}"))["error"]
    assert await proxy.get("/task/list") == []


async def test_an_uncommitted_upload_can_be_removed(proxy: ProxyProcess) -> None:
    task = (await init(proxy))["uuid"]
    await upload(proxy, task)
    assert await _act(proxy, "remove", task, "data") == {"success": True}
    assert spooled(proxy) == []
    assert "error" in await commit(proxy, task)


async def test_restart_runs_a_task_again(proxy: ProxyProcess, node: SimulatedNode) -> None:
    task = await submit(proxy)
    await ended(proxy, task)
    options = json.dumps([{"name": "dsm", "value": True}])
    answer = await proxy.post("/task/restart", data={"uuid": task, "options": options})
    assert answer == {"success": True}
    assert await ended(proxy, task) == 40
    assert node.tasks[task].starts == 2


async def test_commit_hook_is_answered_but_not_believed(proxy: ProxyProcess) -> None:
    task = await submit(proxy)
    forged = {"uuid": task, "status": {"code": 40}}
    assert await proxy.post("/commit", json=forged) == {"ok": True}
    assert await status(proxy, task) == 20
    assert "error" in await proxy.post("/commit", data=b"zzz")


async def test_cache_clear_answers_ok(proxy: ProxyProcess) -> None:
    assert await proxy.get("/cache/clear") == {"ok": True}


async def test_a_task_the_node_failed_is_told_with_its_reason(tmp_path: Path) -> None:
    behaviour = Behaviour(seconds=0.2, fail_tasks=1, work_dir=tmp_path / "n")
    async with (
        SimulatedNode(behaviour, port=0) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",)) as proxy,
    ):
        task = await submit(proxy)
        assert await ended(proxy, task) == 30
        assert (await info(proxy, task))["status"]["errorMessage"] == "Cannot process dataset"


async def _direct(node: SimulatedNode, path: str) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{node.port}{path}") as response,
    ):
        return await response.json()


async def _act(proxy: ProxyProcess, verb: str, task: str, encoding: str) -> Any:
    match encoding:
        case "json":
            return await proxy.post(f"/task/{verb}", json={"uuid": task})
        case "multipart":
            form = aiohttp.FormData({"uuid": task}, default_to_multipart=True)
            return await proxy.post(f"/task/{verb}", data=form)
        case _:
            return await proxy.post(f"/task/{verb}", data={"uuid": task})
