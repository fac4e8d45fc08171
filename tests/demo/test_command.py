from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

DEMO = [sys.executable, "-m", "clusterodm_py", "demo", "--seconds", "0.5"]


def test_the_demo_brings_an_orthophoto_home(tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = subprocess.run(
        [*DEMO, "--results", str(results)], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(results / "orthophoto.png") as image:
        assert image.width > 1000
    assert (results / "all.zip").exists()
    for word in (
        "Proxy ",
        "Console     nc 127.0.0.1",
        "Photos      24 drawn",
        "Processing  100 %  on 127.0.0.1:",
    ):
        assert word in done.stdout
    address = re.search(r"http://[\d.:]+", done.stdout)
    assert address is not None
    with pytest.raises(OSError, match="refused"):
        urlopen(address[0])


def test_kept_it_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [*DEMO, "--keep", "--results", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = ""
            for line in process.stdout:
                told += line
                if line.startswith("Running"):
                    break
            address = re.search(r"http://[\d.:]+", told)
            assert address is not None
            with urlopen(address[0] + "/info") as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            with pytest.raises(OSError, match="refused"):
                urlopen(address[0])
        finally:
            process.kill()


def test_a_cluster_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*DEMO, "--results", str(tmp_path), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "The demo failed: The proxy ended" in done.stdout
    assert "Last words of the proxy" in done.stdout
