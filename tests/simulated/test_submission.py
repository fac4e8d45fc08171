from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiohttp import FormData

from clusterodm_py.simulated import SimulatedNode
from harness.node_caller import NodeCaller, files


async def test_a_task_goes_from_init_to_its_end(call: NodeCaller) -> None:
    task = str(uuid4())
    assert await call.init(task) == {"uuid": task}
    assert await call.upload(task, "a.jpg") == {"success": True}
    assert await call.get("/task/list") == []
    assert await call.post(f"/task/new/commit/{task}") == {"uuid": task}
    assert (await call.info(task))["status"]["code"] in (10, 20, 40)
    await call.until(task, 40)
    assert await call.get("/task/list") == [{"uuid": task}]


async def test_nothing_goes_to_an_upload_that_is_committed_or_unknown(call: NodeCaller) -> None:
    task, missing = await call.submit(), {"error": "Invalid uuid (not found)"}
    assert await call.upload(task, "late.jpg") == missing
    assert await call.post(f"/task/new/commit/{task}") == missing
    assert await call.upload(str(uuid4()), "a.jpg") == missing
    assert await call.post(f"/task/new/commit/{uuid4()}") == missing


async def test_an_upload_without_files_need_not_be_tried_again(call: NodeCaller) -> None:
    task = (await call.init())["uuid"]
    wanted = {"error": "Need at least 1 file.", "noRetry": True}
    assert await call.upload(task) == wanted
    assert await call.post(f"/task/new/upload/{task}") == wanted
    assert await call.post(f"/task/new/commit/{task}") == {"error": "Need at least 1 file."}


async def test_a_file_in_another_field_is_refused_and_takes_the_others_along(call: NodeCaller) -> None:
    task = (await call.init())["uuid"]
    form = files("a.jpg")
    form.add_field("foo", b"x", filename="b.jpg")
    assert await call.post(f"/task/new/upload/{task}", form) == {"error": "Unexpected field"}
    assert await call.post(f"/task/new/commit/{task}") == {"error": "Need at least 1 file."}
    assert await call.post("/task/new/init", files("a.jpg")) == {"error": "Unexpected field"}


async def test_a_duplicate_gets_an_underscore_before_its_extension(call: NodeCaller) -> None:
    task = await call.submit("a.jpg", "a.jpg", "A.JPG", "a.jpg")
    assert set(call.node.tasks[task].files) == {"a.jpg", "a_.jpg", "A.JPG", "a__.jpg"}


async def test_initialising_again_keeps_the_files(call: NodeCaller) -> None:
    task = (await call.init())["uuid"]
    await call.upload(task, "a.jpg")
    assert await call.init(task, name="second") == {"uuid": task}
    await call.upload(task, "b.jpg")
    await call.post(f"/task/new/commit/{task}")
    assert set(call.node.tasks[task].files) == {"a.jpg", "b.jpg"}
    assert call.node.tasks[task].name == "second"


@pytest.mark.parametrize("options", ["[", "nonsense", '[{"name":"dsm","value":"maybe"}]'])
async def test_options_that_do_not_validate_wipe_the_upload(call: NodeCaller, options: str) -> None:
    task = (await call.init())["uuid"]
    await call.upload(task, "a.jpg")
    assert "error" in await call.init(task, options=options)
    assert await call.upload(task, "b.jpg") == {"error": "Invalid uuid (not found)"}
    await call.init(task)
    await call.upload(task, "b.jpg")
    await call.post(f"/task/new/commit/{task}")
    assert set(call.node.tasks[task].files) == {"b.jpg"}


async def test_every_option_at_fault_is_named(call: NodeCaller) -> None:
    wrong = '[{"name":"dsm","value":"maybe"},{"name":"crop","value":-1}]'
    faults = json.loads((await call.init(options=wrong))["error"])
    assert [fault["name"] for fault in faults] == ["crop", "dsm"]


async def test_ids_of_versions_1_to_7_are_taken_and_others_not(call: NodeCaller) -> None:
    for version in "1234567":
        wanted = f"0189ABCD-0000-{version}000-8000-00000000000a"
        assert await call.init(wanted) == {"uuid": wanted}
    for wrong in ("zzz", "0189abcd-0000-8000-8000-00000000000a", "0189abcd-0000-4000-7000-00000000000a"):
        assert await call.init(wrong) == {"error": f"Invalid set-uuid: {wrong}"}


async def test_the_id_of_a_task_is_not_given_twice(call: NodeCaller) -> None:
    task = await call.submit()
    assert await call.init(task) == {"error": f"Invalid set-uuid: {task}"}
    await call.post("/task/remove", {"uuid": task})
    assert await call.init(task) == {"uuid": task}


async def test_fields_may_follow_the_files_of_a_one_shot_task(call: NodeCaller) -> None:
    form = files("a.jpg", "b.jpg")
    form.add_field("name", "late name")
    form.add_field("options", '[{"name":"dsm","value":true}]')
    task = (await call.post("/task/new", form))["uuid"]
    info = await call.until(task, 40)
    assert (info["name"], info["imagesCount"]) == ("late name", 2)
    assert info["options"][0] == {"name": "dsm", "value": True}


async def test_a_one_shot_task_needs_files(call: NodeCaller) -> None:
    needed = {"error": "Need at least 1 file or a zip file url."}
    assert await call.post("/task/new") == needed
    assert await call.post("/task/new", FormData({"name": "x"}, default_to_multipart=True)) == needed
    by_url = FormData({"zipurl": "http://127.0.0.1/x.zip"}, default_to_multipart=True)
    assert "zipurl" in (await call.post("/task/new", by_url))["error"]
    assert (await call.get("/simulated/state"))["uploads"] == []


async def test_seed_and_texts_are_no_images(call: NodeCaller, node: SimulatedNode) -> None:
    task = await call.submit("a.jpg", "seed.zip", "gcp_list.txt", "geo.txt")
    assert (await call.until(task, 40))["imagesCount"] == 1
    assert set(node.tasks[task].files) == {"a.jpg", "seed.zip", "gcp_list.txt", "geo.txt"}
    assert node.tasks[task].images == ("a.jpg",)


async def test_a_malformed_form_is_an_error(call: NodeCaller) -> None:
    task = (await call.init())["uuid"]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for path in (f"/task/new/upload/{task}", "/task/new/init", "/task/new"):
        assert "error" in await call.post(path, b"--x\r\nno end", headers=headers)
    bare = {"Content-Type": "multipart/form-data"}
    assert await call.post("/task/new/init", b"", headers=bare) == {"error": "Multipart: Boundary not found"}


async def test_a_chunked_upload_is_taken_and_no_path_in_its_name(call: NodeCaller) -> None:
    task = (await call.init())["uuid"]
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="../../a.jpg"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(30):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert await call.post(f"/task/new/upload/{task}", body(), headers=headers) == {"success": True}
    await call.post(f"/task/new/commit/{task}")
    assert call.node.tasks[task].files == {"a.jpg": 300_000}
