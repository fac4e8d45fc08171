"""The servers under measurement, each a process of its own on loopback: a simulated node, the proxy, nginx."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream node {{ server 127.0.0.1:{node}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering on; proxy_max_temp_file_size 0; proxy_request_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the block ends; entered once `port` takes connections."""
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        else:
            raise RuntimeError((folder / f"{port}.log").read_text())
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def node(folder: Path, *flags: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "clusterodm_py", "simulate-node", "--port", str(port), *flags]
    with server([*command, "--work-dir", str(folder / f"node-{port}")], port, folder):
        yield port


@contextmanager
def proxy(folder: Path, node_port: int, *flags: str, port: int = 0) -> Iterator[tuple[int, int]]:
    """Its port and its process id."""
    port = port or free_port()
    command = [sys.executable, "-m", "clusterodm_py", "--port", str(port), "--admin-cli-port", "0"]
    command += ["--admin-web-port", "0", "--data-dir", str(folder / f"data-{port}"), "--log-level", "warn"]
    with server([*command, "--node", f"127.0.0.1:{node_port}", *flags], port, folder) as process:
        yield port, process.pid


@contextmanager
def nginx(folder: Path, node_port: int) -> Iterator[int]:
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, node=node_port, port=port))
    with server(["nginx", "-c", str(configuration), "-p", str(folder)], port, folder):
        yield port
