"""Tokens, ownership and limits, over the real program (contract §1.0.2, §6, §12.1)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest

from clusterodm_py.simulated import SimulatedNode
from harness.proxy import ProxyProcess
from harness.tasks import IMAGES, commit, ended, files_form, init, submit, upload


def tokens_file(path: Path, **bearers: dict[str, Any]) -> Path:
    """Bearers by name; the token of `alice` is `alice-token`."""
    entries = [
        {"name": name, "sha256": hashlib.sha256(f"{name}-token".encode()).hexdigest(), **more}
        for name, more in bearers.items()
    ]
    path.write_text(json.dumps({"tokens": entries}))
    path.chmod(0o600)
    return path


@pytest.fixture
async def shared(tmp_path: Path, node: SimulatedNode) -> AsyncIterator[ProxyProcess]:
    """A proxy for alice, bob and an admin, and for the limited."""
    file = tokens_file(
        tmp_path / "tokens.json",
        alice={},
        bob={},
        ops={"admin": True},
        small={"limits": {"maxImages": 2}},
        single={"limits": {"maxConcurrentTasks": 1}},
        none={"limits": {"maxConcurrentTasks": 0}},
        optioned={
            "limits": {
                "options": {
                    "split": {"between": {"min": 10, "max": 500}},
                    "dsm": {"assure": True, "value": "true"},
                    "dtm": {"remove": True},
                }
            }
        },
    )
    flags = ("--tokens-file", str(file))
    async with ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",), flags=flags) as proxy:
        yield proxy


@pytest.mark.parametrize("query", ["", "?token=bad", "?token=", "?token=alice-token&token=alice-token"])
async def test_without_a_good_token_everything_is_401_without_a_body(
    shared: ProxyProcess, query: str
) -> None:
    for method, path in [
        ("GET", "/info"),
        ("POST", "/task/new/init"),
        ("POST", "/task/new"),
        ("GET", "/task/list"),
        ("GET", "/"),
        ("GET", "/nothing"),
    ]:
        async with shared.session.request(method, f"{path}{query}") as response:
            assert (response.status, response.reason, await response.read()) == (401, "unauthorized", b"")
            assert "Content-Type" not in response.headers


async def test_what_needs_no_token_needs_none(shared: ProxyProcess) -> None:
    assert "message" in await shared.get("/auth/info")
    async with shared.session.get("/js/main.js") as response:
        assert response.status == 200
    async with shared.session.get("/task/11111111-1111-4111-8111-111111111111/x.js") as response:
        assert response.status == 401


async def test_a_task_does_not_exist_for_others(shared: ProxyProcess) -> None:
    task = await submit(shared, token="alice-token")
    assert await ended(shared, task, token="alice-token") == 40
    for token in ("bob-token", "alice-token", "ops-token"):
        theirs = token != "bob-token"
        listed = await shared.get(f"/task/list?token={token}")
        assert ({"uuid": task} in listed) is theirs
        for path in (f"/task/{task}/info", f"/task/{task}/output"):
            answer = await shared.get(f"{path}?token={token}")
            assert ("error" in answer) is not theirs
        async with shared.session.get(f"/task/{task}/download/all.zip?token={token}") as response:
            assert ((await response.read())[:2] == b"PK") is theirs
    for verb in ("cancel", "restart", "remove"):
        answer = await shared.post(f"/task/{verb}?token=bob-token", data={"uuid": task})
        unknown = await shared.post(
            f"/task/{verb}?token=bob-token", data={"uuid": task.replace(task[0], "0", 1)}
        )
        assert answer.keys() == unknown.keys() == {"error"}
    assert await shared.post("/task/remove?token=ops-token", data={"uuid": task}) == {"success": True}


async def test_an_upload_is_its_owners_too(shared: ProxyProcess) -> None:
    task = (await init(shared, token="alice-token"))["uuid"]
    assert "error" in await upload(shared, task, token="bob-token")
    assert "error" in await commit(shared, task, token="bob-token")
    assert "error" not in await upload(shared, task, token="alice-token")


async def test_in_open_mode_a_token_only_divides_the_list(proxy: ProxyProcess) -> None:
    task = await submit(proxy, token="leaked")
    assert await ended(proxy, task) == 40
    assert await proxy.get("/task/list") == []
    assert await proxy.get("/task/list?token=leaked") == [{"uuid": task}]


async def test_one_image_too_many_is_refused_exactly(shared: ProxyProcess) -> None:
    token = "small-token"
    assert (await shared.get(f"/info?token={token}"))["maxImages"] == 2
    task = (await init(shared, token=token))["uuid"]
    answers = [await upload(shared, task, {name: data}, token=token) for name, data in IMAGES.items()]
    assert answers == [{"success": True}, {"success": True}, {"error": "Max images count exceeded."}]
    parallel = (await init(shared, token=token))["uuid"]
    answers = await asyncio.gather(
        *(upload(shared, parallel, {f"{number}": b"x" * 90_000}, token=token) for number in range(8))
    )
    assert sum(answer == {"success": True} for answer in answers) == 2
    assert await commit(shared, task, token=token) == {"uuid": task}
    async with shared.session.post(f"/task/new?token={token}", data=files_form(IMAGES)) as response:
        assert "Max images" in (await response.json())["error"]


async def test_concurrency_is_exact_and_the_upload_waits_unharmed(
    shared: ProxyProcess, node: SimulatedNode
) -> None:
    node.change(seconds=2.0)
    token = "single-token"
    assert (await shared.get(f"/info?token={token}"))["maxParallelTasks"] == 1
    tasks = [(await init(shared, token=token))["uuid"] for _ in range(4)]
    for task in tasks:
        await upload(shared, task, token=token)
    answers = await asyncio.gather(*(commit(shared, task, token=token) for task in tasks))
    passed = [answer["uuid"] for answer in answers if "uuid" in answer]
    assert len(passed) == 1
    assert "concurrent" in (await init(shared, token=token))["error"]
    assert await ended(shared, passed[0], token=token) == 40
    other = next(task for task in tasks if task not in passed)
    async with asyncio.timeout(10):
        while "error" in await commit(shared, other, token=token):
            await asyncio.sleep(0.2)
    assert await ended(shared, other, token=token) == 40


async def test_a_limit_of_zero_allows_nothing(shared: ProxyProcess) -> None:
    assert (await shared.get("/info?token=none-token"))["maxParallelTasks"] == 0
    assert "error" in await init(shared, token="none-token")


async def test_option_limits_are_applied(shared: ProxyProcess) -> None:
    token = "optioned-token"
    offered = {option["name"] for option in await shared.get(f"/options?token={token}")}
    assert "dtm" not in offered
    assert "max-concurrency" not in offered
    wish: list[dict[str, Any]] = [{"name": "split", "value": "3"}, {"name": "dtm", "value": True}]
    task = await submit(shared, token=token, options=wish)
    told = await shared.get(f"/task/{task}/info?token={token}")
    options = {option["name"]: option["value"] for option in told["options"]}
    assert (options["split"], options["dsm"]) == (10, True)
    assert "dtm" not in options


async def test_the_flood_limit_counts_uploads_begun_and_not_committed(
    tmp_path: Path, node: SimulatedNode
) -> None:
    address = (f"127.0.0.1:{node.port}",)
    async with ProxyProcess(tmp_path / "data", nodes=address, flags=("--flood-limit", "2")) as proxy:
        first = (await init(proxy))["uuid"]
        await init(proxy)
        assert "15 minutes" in (await init(proxy))["error"]
        await upload(proxy, first)
        await commit(proxy, first)
        assert "error" in await init(proxy)  # the refused one counts too
        other = await init(proxy, token="somebody-else")
        assert "uuid" in other


async def test_a_full_spool_refuses_before_it_takes_anything(tmp_path: Path, node: SimulatedNode) -> None:
    address = (f"127.0.0.1:{node.port}",)
    async with ProxyProcess(tmp_path / "data", nodes=address, flags=("--spool-quota", "10K")) as proxy:
        task = (await init(proxy))["uuid"]
        assert "taken" in (await upload(proxy, task, {"big.jpg": b"x" * 20_000}))["error"]
        assert await upload(proxy, task, {"small.jpg": b"x" * 2_000}) == {"success": True}


async def test_a_task_ends_at_a_remote_service_with_its_token(tmp_path: Path, node: SimulatedNode) -> None:
    told: list[Any] = []

    async def answer(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        body = await request.json()
        told.append((request.path, body))
        return aiohttp.web.json_response({"valid": body["token"] == "paid", "limits": {}, "approved": True})

    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(answer))
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    flags = ("-c", f"http://127.0.0.1:{runner.addresses[0][1]}/r")
    address = (f"127.0.0.1:{node.port}",)
    async with ProxyProcess(tmp_path / "data", nodes=address, flags=flags) as proxy:
        assert (await proxy.get("/auth/info"))["loginUrl"].endswith("/r/auth/getToken")
        async with proxy.session.get("/info?token=stolen") as response:
            assert response.status == 401
        task = await submit(proxy, token="paid")
        assert await ended(proxy, task, token="paid") == 40
        async with asyncio.timeout(10):
            while told[-1][0] != "/r/tasks/finished":
                await asyncio.sleep(0.05)
        assert told[-1][1]["token"] == "paid"
        assert json.loads(told[-1][1]["taskInfo"])["uuid"] == task
        assert [path for path, _ in told].count("/r/tasks/approve") == 1
    await runner.cleanup()
