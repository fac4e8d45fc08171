"""What clients do to a server, and how long it takes. Plain sockets, so that the client is not what is measured."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Rate:
    """Answers per second, and the slowest of a hundred in milliseconds."""

    per_second: float
    p99_ms: float


def requests(port: int, path: str, script: Path | None = None) -> Rate:
    """Ask for one path over and over for 3 seconds on 32 connections, with wrk; `script` varies the path."""
    url = f"http://127.0.0.1:{port}{path}"
    told = subprocess.run(
        ["wrk", "-t1", "-c32", "-d3", "--latency", *(["-s", str(script)] if script else []), url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Non-2xx" not in told, told
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", told)
    assert rate, told
    assert p99, told
    return Rate(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])


def download(port: int, path: str) -> float:
    """Seconds to read one answer to its end."""
    buffer = bytearray(1 << 20)
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        received = 0
        while count := connection.recv_into(buffer):
            received += count
    assert received > 1 << 20, received
    return time.perf_counter() - began


def post(port: int, path: str, body: bytes = b"", kind: str = "", **headers: str) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body, {"Content-Type": kind, **headers} if kind else headers)
    answer: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    assert not answer.get("error"), answer
    return answer


def begin(port: int) -> str:
    answer = post(port, "/task/new/init", b"name=bench&options=%5B%5D", "application/x-www-form-urlencoded")
    return str(answer["uuid"])


def begin_at_node(port: int) -> str:
    """A node's init takes multipart only."""
    body = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nbench\r\n--b--\r\n'
    return str(post(port, "/task/new/init", body, "multipart/form-data; boundary=b")["uuid"])


def send_file(port: int, task: str, name: str, size: int, pace: float = 0.0) -> None:
    """One upload request of `size` bytes; `pace` bytes per second if given."""
    head = (
        f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    tail = b"\r\n--b--\r\n"
    block = b"\0" * (1 << 18)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            f"POST /task/new/upload/{task} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(head) + size + len(tail)}\r\n\r\n".encode()
            + head
        )
        left = size
        while left:
            connection.sendall(memoryview(block)[: min(left, len(block))])
            left -= min(left, len(block))
            if pace:
                time.sleep(len(block) / pace)
        connection.sendall(tail)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert b'"success"' in answer, answer


def upload(port: int, task: str, files: int, size: int, threads: int = 4, pace: float = 0.0) -> float:
    """Seconds from the first byte to the answer of the commit; `pace` bytes per second in all if given."""
    names = iter([f"{number}.jpg" for number in range(files)])
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                name = next(names, None)
            if name is None:
                return
            send_file(port, task, name, size, pace / threads)

    began = time.perf_counter()
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    post(port, f"/task/new/commit/{task}")
    return time.perf_counter() - began


def crowd(port: int, clients: int, size: int) -> None:
    """So many clients upload one file each at the same time, slowly enough that all are in the middle at once."""

    def work() -> None:
        send_file(port, begin(port), f"{uuid4()}.jpg", size, pace=size / 4)

    workers = [threading.Thread(target=work) for _ in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def peak_memory(pid: int) -> float:
    """The most memory the process ever held, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000
