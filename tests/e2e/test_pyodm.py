"""The client nearly everybody uses: PyODM as it is, through the proxy (contract §11.1, §11.2, C91)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pyodm.api
import pytest
from pyodm import Node
from pyodm.exceptions import NodeConnectionError, NodeResponseError, NodeServerError, TaskFailedError
from pyodm.types import TaskStatus

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.gate import Gate
from harness.proxy import ProxyProcess
from harness.tasks import ended

REMOTE_OPTIONS = {"dsm": True, "orthophoto-resolution": "5", "skip-3dmodel": True, "skip-report": True}
OUTPUTS = ["opensfm/matches", "opensfm/features", "opensfm/reconstruction.json"]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """12 files of different sizes; one is not an image."""
    paths = [*(tmp_path / f"photo{number}.jpg" for number in range(11)), tmp_path / "gcp_list.txt"]
    for number, path in enumerate(paths):
        path.write_bytes(b"\xff\xd8" + path.name.encode() * 5000 * (number + 1))
    return [str(path) for path in paths]


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """PyODM shares a default argument, so one test's token would reach the next one's calls (contract §11.1)."""
    yield
    for function in (pyodm.api.Node.url, pyodm.api.Node.get, pyodm.api.Node.post):
        for default in function.__defaults__ or ():
            if isinstance(default, dict):
                default.clear()


async def test_a_task_goes_all_its_way(
    proxy: ProxyProcess, node: SimulatedNode, pictures: list[str], tmp_path: Path
) -> None:
    progress: list[float] = []
    downloaded: list[float] = []

    def client() -> str:
        server = Node("127.0.0.1", proxy.port)
        assert server.version_greater_or_equal_than("1.5.1")
        info = server.info()
        assert (info.engine, info.max_images, info.max_parallel_tasks) == ("odm", None, 2)
        assert len(server.options()) == 80
        task = server.create_task(
            pictures,
            {"dsm": True, "crop": 2},
            name="twelve",
            progress_callback=progress.append,
            parallel_uploads=10,
        )
        task.wait_for_completion(interval=0.05)
        told = task.info(with_output=0)
        assert (told.status, told.images_count, told.progress, told.name) == (
            TaskStatus.COMPLETED,
            11,  # the node counts no GCP file
            100,
            "twelve",
        )
        assert told.output == task.output()
        assert task.output(-2) == told.output[-2:]
        results = Path(task.download_assets(str(tmp_path / "results"), progress_callback=downloaded.append))
        assert (results / "odm_orthophoto" / "odm_orthophoto.tif").stat().st_size > 1000
        assert task.restart({"dsm": False})
        task.wait_for_completion(interval=0.05)
        assert task.remove()
        with pytest.raises(NodeResponseError):
            task.info()
        return str(task.uuid)

    task = await asyncio.to_thread(client)
    assert progress[-1] == 100
    assert downloaded[-1] == 100
    assert task not in node.tasks


async def test_what_arrives_is_what_was_sent(
    proxy: ProxyProcess, node: SimulatedNode, pictures: list[str]
) -> None:
    def client() -> str:
        return str(Node("127.0.0.1", proxy.port).create_task(pictures).uuid)

    task = await asyncio.to_thread(client)
    assert await ended(proxy, task) == 40
    assert dict(node.tasks[task].files) == {Path(path).name: Path(path).stat().st_size for path in pictures}


async def test_cancel_and_a_failed_task(
    proxy: ProxyProcess, node: SimulatedNode, pictures: list[str]
) -> None:
    node.change(seconds=60)

    def cancel() -> None:
        task = Node("127.0.0.1", proxy.port).create_task(pictures[:2])
        assert task.cancel()
        assert task.info().status is TaskStatus.CANCELED
        with pytest.raises(TaskFailedError):
            task.wait_for_completion(interval=0.05)

    await asyncio.to_thread(cancel)
    node.change(seconds=0.1, fail_tasks=1)

    def fail() -> None:
        task = Node("127.0.0.1", proxy.port).create_task(pictures[:2])
        with pytest.raises(TaskFailedError):
            task.wait_for_completion(interval=0.05)
        assert task.info().last_error == "Cannot process dataset"

    await asyncio.to_thread(fail)


async def test_refusals_are_the_exceptions_clients_expect(
    tmp_path: Path, node: SimulatedNode, pictures: list[str]
) -> None:
    address, flags = f"127.0.0.1:{node.port}", ("--token", "user")
    async with ProxyProcess(tmp_path / "data", nodes=(address,), flags=flags) as proxy:

        def client() -> None:
            for token in ("", "wrong"):
                with pytest.raises(NodeResponseError):
                    Node("127.0.0.1", proxy.port, token).info()
            server = Node.from_url(f"http://127.0.0.1:{proxy.port}/any/path?token=user")
            assert server.info().version == "1.5.3"
            with pytest.raises(NodeResponseError, match="dsm"):
                server.create_task(pictures[:1], {"dsm": "maybe"})
            unknown = server.get_task("0a1b2c3d-0000-4000-8000-000000000000")
            for call in (unknown.info, unknown.output, unknown.cancel, unknown.remove, unknown.restart):
                with pytest.raises(NodeResponseError):
                    call()
            task = server.create_task(pictures[:1])
            with pytest.raises((NodeResponseError, NodeServerError)):
                task.download_zip(str(tmp_path))
            assert task.remove()

        await asyncio.to_thread(client)


async def test_a_proxy_that_is_away_is_a_connection_error(proxy: ProxyProcess, pictures: list[str]) -> None:
    task = await asyncio.to_thread(lambda: Node("127.0.0.1", proxy.port).create_task(pictures[:2]))
    await proxy.kill()
    with pytest.raises(NodeConnectionError):
        await asyncio.to_thread(task.info)
    await proxy.start()
    await asyncio.to_thread(lambda: task.wait_for_completion(interval=0.05))


async def test_split_merge_sees_what_it_relies_on(
    proxy: ProxyProcess, node: SimulatedNode, pictures: list[str], tmp_path: Path
) -> None:
    seed = tmp_path / "seed.zip"
    with ZipFile(seed, "w") as archive:
        archive.writestr("opensfm/camera_models.json", "{}")

    def submodel() -> str:
        """One round of ODM's remote.py, for one submodel (contract §11.2)."""
        server = Node.from_url(f"http://127.0.0.1:{proxy.port}/")
        server.info()
        files = [*pictures, str(seed)]
        task = server.create_task(files, REMOTE_OPTIONS, skip_post_processing=True, outputs=OUTPUTS)
        seen = [task.info(with_output=-3).status]
        deadline = time.monotonic() + 20
        while seen[-1] is not TaskStatus.COMPLETED and time.monotonic() < deadline:
            seen.append(task.info(with_output=-3).status)
        assert set(seen) <= {TaskStatus.RUNNING, TaskStatus.COMPLETED}
        assert seen[-1] is TaskStatus.COMPLETED
        assert task.output()
        Path(task.download_assets(str(tmp_path / f"submodel-{task.uuid}")))
        assert not node.tasks[task.uuid].fields.name
        assert node.tasks[task.uuid].fields.skip_post_processing
        assert "seed.zip" in node.tasks[task.uuid].files
        assert task.remove()
        return str(task.uuid)

    tasks = await asyncio.gather(*(asyncio.to_thread(submodel) for _ in range(2)))
    assert not set(tasks) & set(node.tasks)


async def test_a_held_task_never_looks_like_a_running_one(tmp_path: Path, pictures: list[str]) -> None:
    async with (
        SimulatedNode(Behaviour(slots=3, seconds=60, work_dir=tmp_path / "n"), port=0) as node,
        Gate(node.port) as gate,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{gate.port}",)) as proxy,
    ):
        gate.hold("/task/new/upload", after=False)

        def client() -> None:
            task = Node("127.0.0.1", proxy.port).create_task(pictures[:3])
            told = task.info(with_output=-3)
            assert told.status is TaskStatus.RUNNING  # 10 would tell split-merge that the cluster is full
            assert len(told.output) < 3  # and 3 lines that this one runs
            assert told.processing_time >= 0

        for _ in range(3):
            await asyncio.to_thread(client)
