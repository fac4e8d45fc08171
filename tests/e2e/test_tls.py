"""HTTPS, as contract §9.2 and C82 have it."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from clusterodm_py.simulated import Behaviour, SimulatedNode
from harness.proxy import ProxyProcess, free_port
from harness.tasks import IMAGES, files_form
from harness.wire import talk

TLS = Path(__file__).parent.parent / "config" / "tls"
PAIR = ("--ssl-key", str(TLS / "key.pem"), "--ssl-cert", str(TLS / "cert.pem"))


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """The certificate is nobody's that a client would know."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def told(url: str, trusting: ssl.SSLContext) -> str:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
        session.get(f"{url}/info") as response,
    ):
        return str((await response.json())["version"])


async def test_with_a_certificate_the_port_speaks_https_only(
    tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    async with ProxyProcess(tmp_path / "data", flags=PAIR) as proxy:
        assert await told(f"https://127.0.0.1:{proxy.port}", trusting) == "1.5.3"
        with pytest.raises(aiohttp.ClientConnectionError):
            await told(proxy.url, trusting)
        assert not await talk(proxy.port, b"GET /info HTTP/1.1\r\n\r\n", half_close=True)
        assert f"Starting https proxy on {proxy.port}" in proxy.log
        assert "Traceback" not in proxy.log


async def test_with_a_secure_port_each_speaks_its_own(tmp_path: Path, trusting: ssl.SSLContext) -> None:
    secure = free_port()
    async with ProxyProcess(tmp_path / "data", flags=(*PAIR, "--secure-port", str(secure))) as proxy:
        assert await told(f"https://127.0.0.1:{secure}", trusting) == "1.5.3"
        assert await told(proxy.url, trusting) == "1.5.3"


async def test_a_task_over_tls_is_told_an_https_cluster_and_gets_its_download(
    tmp_path: Path, trusting: ssl.SSLContext
) -> None:
    big = Behaviour(seconds=0.1, result_size=3_000_000, work_dir=tmp_path / "n")
    async with (
        SimulatedNode(big, port=0) as node,
        ProxyProcess(tmp_path / "data", nodes=(f"127.0.0.1:{node.port}",), flags=PAIR) as proxy,
        aiohttp.ClientSession(
            f"https://127.0.0.1:{proxy.port}", connector=aiohttp.TCPConnector(ssl=trusting)
        ) as session,
    ):
        form = files_form(IMAGES)
        form.add_field("options", json.dumps([{"name": "split", "value": "5"}]))
        async with session.post("/task/new", data=form) as response:
            task = (await response.json())["uuid"]
        async with asyncio.timeout(15):
            while True:
                async with session.get(f"/task/{task}/info") as response:
                    info = await response.json()
                if info["status"]["code"] == 40:
                    break
                await asyncio.sleep(0.05)
        cluster = {"name": "sm-cluster", "value": f"https://127.0.0.1:{proxy.port}/"}
        assert cluster in info["options"]
        async with session.get(f"/task/{task}/download/all.zip") as response:
            ours = await response.read()
        async with session.get(f"{node.url}/task/{task}/download/all.zip") as response:
            assert await response.read() == ours


@pytest.mark.parametrize("which", ["key", "cert", "both"])
async def test_files_that_are_no_pair_end_the_start_with_a_reason(tmp_path: Path, which: str) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN NOTHING-----\n")
    key = TLS / "key.pem" if which == "cert" else junk
    cert = TLS / "cert.pem" if which == "key" else junk
    status, log = await started(tmp_path, "--ssl-key", str(key), "--ssl-cert", str(cert))
    assert status not in (0, None)
    assert "ssl-cert" in log
    assert "ssl-key" in log
    assert "Traceback" not in log


async def test_a_key_of_another_certificate_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    other = await other_key(tmp_path)
    status, log = await started(tmp_path, "--ssl-key", str(other), "--ssl-cert", str(TLS / "cert.pem"))
    assert status not in (0, None)
    assert "pair" in log
    assert "Traceback" not in log


async def started(folder: Path, *flags: str) -> tuple[int | None, str]:
    """A start that should fail: exit status and what was said."""
    arguments = ["--port", str(free_port()), "--admin-cli-port", "0", "--admin-web-port", "0"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clusterodm_py", *arguments, "--data-dir", str(folder / "d"), *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(15):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def other_key(folder: Path) -> Path:
    path = folder / "other.pem"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return path
