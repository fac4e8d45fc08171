from __future__ import annotations

import io
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.node_caller import NodeCaller, files

INFO_KEYS = {
    *("version", "taskQueueCount", "totalMemory", "availableMemory", "cpuCores"),
    *("maxImages", "maxParallelTasks", "engineVersion", "engine"),
}
TASK_KEYS = {"uuid", "name", "dateCreated", "processingTime", "status", "options", "imagesCount", "progress"}


async def test_info_has_every_key(call: NodeCaller) -> None:
    info = await call.get("/info")
    assert set(info) == INFO_KEYS
    assert info["version"] == "2.2.4"
    assert info["maxImages"] is None


async def test_options_have_exactly_five_keys_and_text_values(call: NodeCaller) -> None:
    options = await call.get("/options")
    assert len(options) == 80
    for option in options:
        assert set(option) == {"name", "type", "value", "domain", "help"}
        assert isinstance(option["value"], str)
        assert isinstance(option["domain"], list) == (option["type"] == "enum")


async def test_every_response_looks_like_express(call: NodeCaller) -> None:
    for path in ("/info", "/", "/nothing"):
        async with call.session.get(call.node.url + path) as answer:
            assert answer.headers["X-Powered-By"] == "Express"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_an_unknown_path_is_a_404_page(call: NodeCaller) -> None:
    for method, path in (("GET", "/nothing"), ("GET", "/task/x/download/"), ("DELETE", "/info")):
        async with call.session.request(method, call.node.url + path) as answer:
            assert answer.status == 404
            assert answer.content_type == "text/html"


async def test_a_preflight_is_granted(call: NodeCaller) -> None:
    headers = {"Access-Control-Request-Headers": "set-uuid"}
    async with call.session.options(call.node.url + "/task/new/init", headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Headers"] == "set-uuid"


async def test_static_files_have_their_types(call: NodeCaller) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/css/main.css", "text/css"),
        ("/js/main.js", "application/javascript"),
    ):
        async with call.session.get(call.node.url + path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)


async def test_authentication_is_not_available(call: NodeCaller) -> None:
    info = await call.get("/auth/info")
    assert info == {
        "message": "Authentication not available on this node",
        "loginUrl": None,
        "registerUrl": None,
    }
    assert await call.post("/auth/login") == {"error": "Not available"}


async def test_a_wrong_token_is_an_error_with_status_200(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(token="secret")) as node:
        call = NodeCaller(session, node)
        refused = {"error": "Invalid authentication token: token does not match."}
        assert await call.get("/info") == refused
        assert await call.get("/task/list?token=bad") == refused
        assert "version" in await call.get("/info?token=secret")
        assert "error" not in await call.get("/auth/info")
        async with session.get(node.url + "/nothing") as answer:
            assert answer.status == 404


async def test_debug_unauthorized_is_a_bare_401(call: NodeCaller) -> None:
    async with call.session.get(call.node.url + "/info?_debugUnauthorized=1") as answer:
        assert (answer.status, await answer.read()) == (401, b"")


async def test_a_task_has_every_key_and_typed_options(call: NodeCaller) -> None:
    wanted = '[{"name":"dsm","value":"true"},{"name":"crop","value":"2"},{"name":"unknown","value":1}]'
    task = await call.submit(options=wanted, name="field", dateCreated="1700000000123")
    info = await call.until(task, 40)
    assert set(info) == TASK_KEYS
    assert info["options"][:2] == [{"name": "crop", "value": 2}, {"name": "dsm", "value": True}]
    assert {option["name"] for option in info["options"][2:]} == {"pc-ept", "cog", "gltf"}
    assert (info["name"], info["dateCreated"], info["imagesCount"]) == ("field", 1700000000123, 2)
    assert info["progress"] == 100
    assert info["processingTime"] >= 0


async def test_skipping_post_processing_adds_no_option(call: NodeCaller) -> None:
    task = await call.submit(skipPostProcessing="true")
    assert (await call.info(task))["options"] == []


async def test_output_is_sliced_as_javascript_does(call: NodeCaller) -> None:
    task = await call.submit()
    await call.until(task, 40)
    lines = await call.get(f"/task/{task}/output")
    assert len(lines) > 3
    assert await call.get(f"/task/{task}/output?line=-2") == lines[-2:]
    assert await call.get(f"/task/{task}/output?line=3") == lines[3:]
    assert await call.get(f"/task/{task}/output?line=9999") == []
    assert await call.get(f"/task/{task}/output?line=abc") == lines
    assert (await call.get(f"/task/{task}/info?with_output=-3"))["output"] == lines[-3:]
    assert "output" not in await call.info(task)


async def test_the_archive_comes_whole_whatever_range_was_asked_for(call: NodeCaller) -> None:
    task = await call.submit()
    await call.until(task, 40)
    url = f"{call.node.url}/task/{task}/download/all.zip"
    async with call.session.get(url, headers={"Range": "bytes=0-9"}) as answer:
        body = await answer.read()
        assert answer.status == 200
        assert "Accept-Ranges" not in answer.headers
        assert answer.headers["Content-Disposition"] == "attachment; filename=all.zip"
        assert answer.content_type == "application/zip"
        assert int(answer.headers["Content-Length"]) == len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert "odm_orthophoto/odm_orthophoto.tif" in archive.namelist()
    async with call.session.head(url) as answer:
        assert int(answer.headers["Content-Length"]) == len(body)
        assert await answer.read() == b""


async def test_assets_that_are_not_there(session: ClientSession) -> None:
    async with SimulatedNode(Behaviour(seconds=60)) as node:
        call = NodeCaller(session, node)
        task = await call.submit()
        assert await call.get(f"/task/{task}/download/all.zip") == {"error": "Asset not ready"}
        assert await call.get(f"/task/{task}/download/foo.tif") == {"error": "Invalid asset"}


async def test_an_unknown_task_is_not_found(call: NodeCaller) -> None:
    unknown = str(uuid4())
    missing = {"error": f"{unknown} not found"}
    assert await call.info(unknown) == missing
    assert await call.get(f"/task/{unknown}/output") == missing
    assert await call.get(f"/task/{unknown}/download/all.zip") == missing
    for verb in ("cancel", "remove", "restart"):
        assert await call.post(f"/task/{verb}", {"uuid": unknown}) == missing


@pytest.mark.parametrize("verb", ["cancel", "remove", "restart"])
async def test_json_and_urlencoded_bodies_are_taken(call: NodeCaller, verb: str) -> None:
    for kind in ("json", "data"):
        task = await call.submit()
        await call.until(task, 40)
        assert await call.post(f"/task/{verb}", **{kind: {"uuid": task}}) == {"success": True}


async def test_bodies_without_a_readable_uuid(call: NodeCaller) -> None:
    task = await call.submit()
    missing = {"error": "uuid param missing."}
    assert await call.post("/task/cancel") == missing
    assert await call.post("/task/cancel", {"id": task}) == missing
    assert await call.post("/task/cancel", files("uuid")) == missing
    broken = await call.post("/task/cancel", b"{", headers={"Content-Type": "application/json"})
    assert "Malformed JSON" in broken["error"]


async def test_the_state_tells_what_was_received(call: NodeCaller) -> None:
    waiting = (await call.init(name="later"))["uuid"]
    task = await call.submit("a.jpg", options='[{"name":"dsm","value":true}]')
    await call.until(task, 40)
    state = await call.get("/simulated/state")
    [seen] = state["tasks"]
    assert seen["files"] == {"a.jpg": len(b"picture")}
    assert seen["optionsReceived"] == '[{"name":"dsm","value":true}]'
    assert seen["headers"]["set-uuid"]
    assert seen["starts"] == 1
    assert state["uploads"] == [{"uuid": waiting, "files": {}}]


async def test_faults_change_at_run_time(call: NodeCaller) -> None:
    assert await call.post("/simulated/faults", json={"slots": 7, "max_images": 3}) == {"success": True}
    info = await call.get("/info")
    assert (info["maxParallelTasks"], info["maxImages"]) == (7, 3)
    wishes: list[Any] = [
        {"slots": "many"},
        {"nonsense": 1},
        {"slots": 0},
        {"hang_info": 1},
        [],
        {"token": "x"},
    ]
    for wrong in wishes:
        assert "error" in await call.post("/simulated/faults", json=wrong)
    assert call.node.behaviour.slots == 7
