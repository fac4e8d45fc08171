from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pyodm import Node
from pyodm.exceptions import NodeResponseError, TaskFailedError
from pyodm.types import TaskStatus

from clusterodm_py.simulated import Behaviour, SimulatedNode


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"photo{number}.jpg" for number in range(12)]
    for path in paths:
        path.write_bytes(path.name.encode() * 5000)
    return [str(path) for path in paths]


async def test_pyodm_gets_a_task_done(pictures: list[str], tmp_path: Path) -> None:
    async with SimulatedNode(Behaviour(seconds=0.1)) as node:

        def client() -> None:
            server = Node("127.0.0.1", node.port)
            assert server.version_greater_or_equal_than("1.5.1")
            assert len(server.options()) == 80
            task = server.create_task(pictures, {"dsm": True, "crop": 2}, name="twelve")
            task.wait_for_completion(interval=0.02)
            info = task.info(with_output=0)
            assert (info.status, info.images_count, info.progress) == (TaskStatus.COMPLETED, 12, 100)
            assert len(info.output) > 3
            results = Path(task.download_assets(str(tmp_path / "results")))
            assert (results / "odm_orthophoto" / "odm_orthophoto.tif").stat().st_size > 1000
            assert task.remove()

        await asyncio.to_thread(client)
        assert node.tasks == {}


async def test_pyodm_tries_a_failed_upload_again(pictures: list[str]) -> None:
    async with SimulatedNode(Behaviour(seconds=600, fail_uploads=2, cut_uploads=1)) as node:

        def client() -> str:
            task = Node("127.0.0.1", node.port).create_task(pictures, retry_timeout=0)
            return str(task.uuid)

        task = await asyncio.to_thread(client)
        assert len(node.tasks[task].files) == 12


async def test_pyodm_raises_what_the_node_refuses(pictures: list[str]) -> None:
    async with SimulatedNode(Behaviour(seconds=0, token="secret", fail_tasks=1)) as node:

        def client() -> None:
            with pytest.raises(NodeResponseError, match="token does not match"):
                Node("127.0.0.1", node.port, token="wrong").info()
            server = Node("127.0.0.1", node.port, token="secret")
            with pytest.raises(NodeResponseError, match="dsm"):
                server.create_task(pictures, {"dsm": "maybe"})
            task = server.create_task(pictures)
            with pytest.raises(TaskFailedError):
                task.wait_for_completion(interval=0.02)
            assert task.info().last_error == "Cannot process dataset"

        await asyncio.to_thread(client)
