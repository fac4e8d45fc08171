"""The data folder of a ClusterODM that ran here before (contract §9.3, C79, C81)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterodm_py.simulated import SimulatedNode
from harness.console import say
from harness.proxy import ProxyProcess
from harness.tasks import ended, submit

OTHER = "0a1b2c3d-0000-4000-8000-00000000000"


def folder(path: Path, nodes: Any, routes: Any) -> Path:
    """With both files as they are given: values as JSON, texts as they are."""
    path.mkdir()
    for name, content in (("nodes.json", nodes), ("routes.json", routes)):
        (path / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=4))
    return path


def entry(port: int | str, **more: Any) -> dict[str, Any]:
    return {"hostname": "127.0.0.1", "port": port, "token": "", **more}


@pytest.fixture
async def task(proxy: ProxyProcess, node: SimulatedNode) -> str:
    """A task that the node has, as another proxy left it there."""
    task = await submit(proxy)
    assert await ended(proxy, task) == 40
    await proxy.stop()
    return task


async def test_nodes_with_ports_as_text_and_number_and_flags_are_loaded(
    tmp_path: Path, node: SimulatedNode
) -> None:
    nodes = [
        entry(str(node.port), locked=True),
        entry(1, token="secret"),
        {"hostname": "h.invalid", "port": "3001", "token": ""},
        entry(str(node.port)),
    ]
    data = folder(tmp_path / "old", nodes, {})
    async with ProxyProcess(data) as proxy:
        assert "OK" in await say(proxy, "NODE UPDATE")
        listed = [line for line in (await say(proxy, "NODE LIST")).split("\r\n") if "<engine" in line]
        assert len(listed) == 3
        assert f"1) 127.0.0.1:{node.port} [online]" in listed[0]
        assert listed[0].endswith("[L]")
        assert "2) 127.0.0.1:1 [offline]" in listed[1]
        assert "3) h.invalid:3001 [offline]" in listed[2]
        assert "secret" not in await say(proxy, "NODE INFO 2")


async def test_a_routed_task_goes_on_and_lists_are_divided_by_token(
    tmp_path: Path, node: SimulatedNode, task: str
) -> None:
    known = entry(str(node.port))
    routes = {
        task: {"node": known, "token": "mine", "accessed": 1700000000000},
        f"{OTHER}1": {"node": known, "token": "theirs", "accessed": 1700000000000},
        f"{OTHER}2": {"node": known, "accessed": 1700000000000},
    }
    data = folder(tmp_path / "old", [known], routes)
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    async with ProxyProcess(data) as proxy:
        for _ in range(2):
            told = await proxy.get(f"/task/{task}/info?token=mine")
            assert (told["uuid"], told["status"]["code"], told["imagesCount"]) == (task, 40, 3)
            async with proxy.session.get(f"/task/{task}/download/all.zip?token=mine") as response:
                assert (await response.read())[:2] == b"PK"
            assert {"uuid": task} in await proxy.get("/task/list?token=mine")
            assert {"uuid": task} not in await proxy.get("/task/list?token=theirs")
            assert {"uuid": task} not in await proxy.get("/task/list")
            assert await proxy.stop() == 0
            assert {name: (data / name).read_bytes() for name in before} == before
            await proxy.start()
        assert await proxy.post("/task/remove?token=mine", data={"uuid": task}) == {"success": True}
        assert task not in node.tasks
        await proxy.restart()
        assert "error" in await proxy.get(f"/task/{task}/info?token=mine")


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.95])
async def test_torn_files_give_what_can_be_read(
    tmp_path: Path, node: SimulatedNode, task: str, cut: float
) -> None:
    known = entry(str(node.port))
    nodes = json.dumps([known, *(entry(port) for port in range(1, 20))], indent=4)
    others = {f"{OTHER}{number}": {"node": known, "accessed": 1} for number in range(9)}
    routes = json.dumps({task: {"node": known, "accessed": 1700000000000}, **others}, indent=4)
    data = folder(tmp_path / "old", nodes[: int(len(nodes) * cut)], routes[: int(len(routes) * cut)])
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    async with ProxyProcess(data) as proxy:
        assert (await proxy.get("/info"))["version"] == "1.5.3"
        if cut:
            assert (await proxy.get(f"/task/{task}/info"))["status"]["code"] == 40
            assert "is damaged or cut short" in proxy.log
        assert {name: (data / name).read_bytes() for name in before} == before


async def test_a_task_of_a_node_added_later_is_found_there(
    tmp_path: Path, node: SimulatedNode, task: str
) -> None:
    routes = {task: {"node": entry(str(node.port)), "accessed": 1700000000000}}
    async with ProxyProcess(folder(tmp_path / "old", [], routes)) as proxy:
        assert "OK" in await say(proxy, f"NODE ADD 127.0.0.1 {node.port}")
        assert (await proxy.get(f"/task/{task}/info"))["status"]["code"] == 40
