"""Room runs out: by quota, budget or free space, and for real. What is missing is said, and nothing whole is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from clusterodm_py.auth.tokens_file import hash_token
from clusterodm_py.core.types import Token
from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.bodies import BOUNDARY, file_head, form, stream
from harness.proxy import ProxyProcess
from harness.tasks import commit, ended, files_form, init, status, submit, upload

KB, MB = 1024, 1024 * 1024

ANN, BOB = "token-of-ann", "token-of-bob"


def images(*kilobytes: int) -> dict[str, bytes]:
    return {f"image_{number}.jpg": b"\xff\xd8" * (size * KB // 2) for number, size in enumerate(kilobytes)}


def kept(spool: Path, task: str) -> list[str]:
    """The whole files of a task; none that is arriving may be left over."""
    assert list((spool / task / "partial").iterdir()) == []
    return sorted(path.name for path in (spool / task / "files").iterdir())


def a_proxy(tmp_path: Path, node: SimulatedNode, *flags: str) -> ProxyProcess:
    return ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",), flags=flags)


def a_tokens_file(path: Path, **limits: Any) -> str:
    tokens = [
        {"name": name, "sha256": hash_token(Token(token)), "limits": limits.get(name, {})}
        for name, token in (("ann", ANN), ("bob", BOB))
    ]
    path.write_text(json.dumps({"tokens": tokens}))
    path.chmod(0o600)
    return str(path)


# -- quota and floor ------------------------------------------------------------------------------------------------


async def test_a_full_quota_keeps_what_was_whole_and_the_same_upload_succeeds_later(
    tmp_path: Path, node: SimulatedNode
) -> None:
    async with a_proxy(tmp_path, node, "--spool-quota", "300K") as proxy:
        one, two = (await init(proxy))["uuid"], (await init(proxy))["uuid"]
        assert await upload(proxy, one, images(150)) == {"success": True}
        assert await upload(proxy, two, images(50)) == {"success": True}
        refusal = await upload(proxy, two, images(50, 150))
        assert re.search(
            r"needs at least 20\d\.\d kB .*all uploads may take 307\.2 kB.* 204\.8 kB", refusal["error"]
        )
        assert kept(proxy.data / "spool", two) == ["image_0.jpg"]
        assert "success" in await proxy.post("/task/remove", data={"uuid": one})
        assert await upload(proxy, two, images(150)) == {"success": True}
        assert await commit(proxy, two) == {"uuid": two}
        assert await ended(proxy, two) == 40


async def test_a_body_of_unknown_length_is_stopped_where_the_room_ends(
    tmp_path: Path, node: SimulatedNode
) -> None:
    async with a_proxy(tmp_path, node, "--spool-quota", "1M") as proxy:
        task = (await init(proxy))["uuid"]

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"x" * MB

        answer = await post_parts(
            proxy, task, {"first.jpg": stream(b"x" * 100 * KB), "second.jpg": endless()}
        )
        assert "all uploads may take 1.0 MB" in answer["error"]
        assert kept(proxy.data / "spool", task) == ["first.jpg"]


async def test_a_disk_with_too_little_free_space_is_told_at_init(tmp_path: Path, node: SimulatedNode) -> None:
    async with a_proxy(tmp_path, node, "--spool-free-floor", "1000000T") as proxy:
        assert "must stay free" in (await init(proxy))["error"]
        one_shot = await proxy.post("/task/new", data=files_form(images(1)))
        assert "must stay free" in one_shot["error"]
        assert await proxy.get("/task/list") == []


async def test_a_one_shot_call_that_cannot_fit_is_refused_before_its_body_is_stored(
    tmp_path: Path, node: SimulatedNode
) -> None:
    async with a_proxy(tmp_path, node, "--spool-quota", "200K") as proxy:
        refusal = await proxy.post("/task/new", data=files_form(images(100, 150)))
        assert re.search(r"needs at least 25\d\.\d kB", refusal["error"])
        answer = await proxy.post("/task/new", data=files_form(images(100, 90)))
        assert await ended(proxy, answer["uuid"]) == 40


# -- budgets --------------------------------------------------------------------------------------------------------


async def test_a_budget_holds_over_a_restart_and_hurts_nobody_else(
    tmp_path: Path, node: SimulatedNode
) -> None:
    tokens = a_tokens_file(tmp_path / "tokens", ann={"maxUploadBytes": "100K"})
    async with a_proxy(tmp_path, node, "--tokens-file", tokens) as proxy:
        first = (await init(proxy, token=ANN))["uuid"]
        assert await upload(proxy, first, images(60), token=ANN) == {"success": True}
        await proxy.restart()
        second, other = (await init(proxy, token=ANN))["uuid"], (await init(proxy, token=BOB))["uuid"]
        refusal = await upload(proxy, second, images(50), token=ANN)
        assert re.search(r"this token may take 102\.4 kB .* 61\.4 kB are taken", refusal["error"])
        assert await upload(proxy, other, images(500), token=BOB) == {"success": True}
        assert await commit(proxy, first, token=ANN) == {"uuid": first}
        assert await ended(proxy, first, token=ANN) == 40
        assert await upload(proxy, second, images(50), token=ANN) == {"success": True}


async def test_a_used_up_budget_is_told_at_init_and_by_the_one_shot_call(
    tmp_path: Path, node: SimulatedNode
) -> None:
    async with a_proxy(tmp_path, node, "--token-quota", "100K") as proxy:
        task = (await init(proxy))["uuid"]
        refusal = await proxy.post("/task/new", data=files_form(images(110)))
        assert "this token may take 102.4 kB" in refusal["error"]
        assert await upload(proxy, task, images(99)) == {"success": True}
        assert "this token may take 102.4 kB" in (await upload(proxy, task, images(2)))["error"]
        assert await post_parts(proxy, task, {"rest.jpg": stream(b"x" * KB)}) == {"success": True}
        assert "this token may take 102.4 kB" in (await init(proxy))["error"]


async def test_a_running_task_does_not_count_against_its_token(tmp_path: Path) -> None:
    async with (
        SimulatedNode(Behaviour(seconds=20, work_dir=tmp_path / "node"), port=0) as node,
        a_proxy(tmp_path, node, "--token-quota", "100K") as proxy,
    ):
        await on_its_node(proxy, node, await submit(proxy, files=images(60)))
        task = (await init(proxy))["uuid"]
        assert await upload(proxy, task, images(60)) == {"success": True}
        for _ in range(2):
            assert " 61.4 kB are taken" in (await upload(proxy, task, images(60)))["error"]
            await proxy.restart()


# -- uploads of running tasks make room -----------------------------------------------------------------------------


async def test_a_running_task_gives_its_upload_up_before_a_new_one_is_refused(tmp_path: Path) -> None:
    async with (
        SimulatedNode(Behaviour(seconds=4, work_dir=tmp_path / "node"), port=0) as node,
        a_proxy(tmp_path, node, "--spool-quota", "300K") as proxy,
    ):
        running = await submit(proxy, files=images(200))
        await on_its_node(proxy, node, running)
        waiting = (await init(proxy))["uuid"]
        assert await upload(proxy, waiting, images(150)) == {"success": True}
        assert not (proxy.data / "spool" / running).exists()
        assert (
            f"task={running} node=127.0.0.1:{node.port} its upload of 204800 bytes is given up" in proxy.log
        )
        assert await commit(proxy, waiting) == {"uuid": waiting}
        assert await ended(proxy, running) == await ended(proxy, waiting) == 40


async def on_its_node(proxy: ProxyProcess, node: SimulatedNode, task: str) -> None:
    """Wait until the proxy knows that the node has the task."""
    async with asyncio.timeout(20):
        while task not in node.tasks or f"task={task} node=127.0.0.1:{node.port} running" not in proxy.log:
            await asyncio.sleep(0.05)
    assert await status(proxy, task) == 20


# -- a disk that is full for real -----------------------------------------------------------------------------------


class FullDisk(Protocol):
    """A place for the spool that takes no more between `fill` and `clear`."""

    spool: Path

    def fill(self, proxy: ProxyProcess) -> None: ...

    def clear(self, proxy: ProxyProcess) -> None: ...


@dataclass
class LittleDisk:
    """A file system of its own that is filled by another program."""

    spool: Path

    def fill(self, proxy: ProxyProcess) -> None:
        ballast = self.spool / "ballast"
        ballast.mkdir()
        with suppress(OSError), (ballast / "bytes").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        with suppress(OSError):
            for number in itertools.count():
                (ballast / str(number)).touch()

    def clear(self, proxy: ProxyProcess) -> None:
        shutil.rmtree(self.spool / "ballast")


@dataclass
class LimitedFiles:
    """Any user can have the system refuse the proxy's writes: beyond some size of file."""

    spool: Path

    def fill(self, proxy: ProxyProcess) -> None:
        self._limit(proxy, 2 * MB)

    def clear(self, proxy: ProxyProcess) -> None:
        self._limit(proxy, resource.RLIM_INFINITY)

    def _limit(self, proxy: ProxyProcess, size: int) -> None:
        assert proxy.process is not None
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def may_mount() -> bool:
    capabilities = re.search(r"CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text())
    sys_admin = 1 << 21
    return capabilities is not None and bool(int(capabilities[1], 16) & sys_admin)


KINDS = ["limited files", *(["little disk"] if may_mount() else [])]


@pytest.fixture(params=KINDS)
def full_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FullDisk]:
    spool = tmp_path / "spool"
    spool.mkdir()
    if request.param == "limited files":
        yield LimitedFiles(spool)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=500", "tmpfs", spool], check=True)
    try:
        yield LittleDisk(spool)
    finally:
        subprocess.run(["umount", spool], check=True)


async def test_a_disk_that_fills_up_during_an_upload_costs_only_the_file_under_way(
    tmp_path: Path, node: SimulatedNode, full_disk: FullDisk
) -> None:
    whole = {"first.jpg": b"1" * 200 * KB, "second.jpg": b"2" * 3 * MB}
    flags = ("--spool-dir", str(full_disk.spool), "--spool-free-floor", "0", "--spool-quota", "3300K")
    async with a_proxy(tmp_path, node, *flags) as proxy:
        task = (await init(proxy))["uuid"]
        assert await upload(proxy, task, {"first.jpg": whole["first.jpg"]}) == {"success": True}

        async def cut_short() -> AsyncIterator[bytes]:
            yield whole["second.jpg"][:MB]
            await arriving(full_disk.spool / task, MB // 2)
            full_disk.fill(proxy)
            yield whole["second.jpg"][MB:]

        for _ in range(2):  # were anything left behind, or still counted, the second time would show it
            async with asyncio.timeout(10):
                answer = await post_parts(proxy, task, {"second.jpg": cut_short()})
            assert re.search(r"The disk takes no more of this upload \(.+\)", answer["error"])
            assert kept(full_disk.spool, task) == ["first.jpg"]
            full_disk.clear(proxy)
        again = stream(whole["second.jpg"])
        assert await post_parts(proxy, task, {"second.jpg": again}) == {"success": True}
        assert await commit(proxy, task) == {"uuid": task}
        assert await ended(proxy, task) == 40
        assert dict(node.tasks[task].files) == {name: len(content) for name, content in whole.items()}


async def test_on_a_full_disk_tasks_can_still_be_removed(
    tmp_path: Path, node: SimulatedNode, full_disk: FullDisk
) -> None:
    async with a_proxy(
        tmp_path, node, "--spool-dir", str(full_disk.spool), "--spool-free-floor", "0"
    ) as proxy:
        task = (await init(proxy))["uuid"]
        assert await upload(proxy, task, images(100)) == {"success": True}
        full_disk.fill(proxy)
        assert await proxy.post("/task/remove", data={"uuid": task}) == {"success": True}
        assert not (full_disk.spool / task).exists()
        full_disk.clear(proxy)


async def arriving(folder: Path, size: int) -> None:
    """Wait until so much of a file is on the disk."""
    async with asyncio.timeout(10):
        while sum(path.stat().st_size for path in (folder / "partial").iterdir()) < size:
            await asyncio.sleep(0.02)


async def post_parts(proxy: ProxyProcess, task: str, files: dict[str, AsyncIterator[bytes]]) -> Any:
    """Upload files whose content comes when it comes, in a request without a length."""

    async def body() -> AsyncIterator[bytes]:
        for name, content in files.items():
            yield file_head(name)
            async for piece in content:
                yield piece
            yield b"\r\n"
        yield form()

    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await proxy.post(f"/task/new/upload/{task}", data=body(), headers=headers)
