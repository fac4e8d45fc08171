"""What is hardly HTTP, and names and paths of the worst kind (contract §1.0.2, §5.2, §12)."""

from __future__ import annotations

import asyncio
import gzip
import random
from pathlib import Path

import pytest

from harness.bodies import file_part, form
from harness.proxy import ProxyProcess
from harness.standing import Standing
from harness.tasks import commit, ended, init, upload
from harness.wire import FORM, URLENCODED, ask, parsed, request, talk

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "x" * 100_000
NAMES = [
    *("../../x", "..\\x", "/etc/passwd", ".", "..", "", "n" * 300, "ü" * 300, "body.json", "BODY.JSON"),
    *(
        "a\x00b.jpg",
        "größe 照片.jpg",
        "con",
        "a.jpg",
        "a.jpg",
        "-rf",
        "~",
        "*",
        "\u202egpj.exe",
        "a\nb",
        "%00",
    ),
]

NOT_HTTP = {
    "noise": random.Random(2).randbytes(5000),
    "TLS": bytes.fromhex("16030102000100") + bytes(600),
    "zeros": bytes(5000),
    "empty lines": b"\r\n" * 5000,
    "HTTP/9": b"GET /info HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in a header": b"GET /info HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "NUL in the path": b"GET /in\x00fo HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in a header name": b"GET /info HTTP/1.1\r\nHost : a\r\n\r\n",
    "two lengths": b"POST /task/new HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": b"POST /task/new HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST /task/new HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
    "length and chunks": (
        b"POST /task/new HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "unknown transfer encoding": b"POST /task/new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13\r\n\r\nx",
    "header bomb": request("GET", "/info", headers={"X": LONG}),
    "many headers": request("GET", "/info", headers={f"X-{number}": "x" for number in range(20_000)}),
    "path bomb": request("GET", f"/{LONG}"),
}


@pytest.mark.parametrize("what", NOT_HTTP)
async def test_what_is_not_http_is_400_or_nothing(unharmed: ProxyProcess, what: str) -> None:
    reply = await talk(unharmed.port, NOT_HTTP[what], half_close=True)
    assert not reply or parsed(reply).status == 400


@pytest.mark.parametrize(
    "path",
    [
        *(
            "//",
            "/%",
            "/%00",
            "/%zz",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/../../etc/passwd",
            "/task/../info",
            "*",
            "info",
        ),
        *(
            "/task/%2e%2e/info",
            "/info#x",
            "/?" + "a=b&" * 1500,
            "/task/" + "-" * 4000,
            "/\xff\xfe",
            "/task//info",
        ),
        *(
            "/task/__proto__/info",
            "/task/a-b-c-d-e/info",
            "/task/a-b-c-d-e/download/../../x",
            "/info;x",
            "http://",
        ),
        *(
            "/task/new/upload/../../x",
            "/task/new/commit/",
            "/task/a-b-c-d-" + "e" * 6000 + "/output",
            "/css/../info",
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_absurd_path_is_an_error(unharmed: ProxyProcess, method: str, path: str) -> None:
    reply = await ask(unharmed.port, request(method, path))
    if path.startswith("/?"):
        assert reply.headers["x-powered-by"] == "Express"  # the node's page, or its refusal
        return
    assert reply.status in (200, 400)
    if reply.status == 200:
        assert reply.json.keys() == {"error"}
        assert reply.json["error"] != "exception"


@pytest.mark.parametrize(
    "method", ["DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "X" * 30]
)
async def test_a_strange_method_is_an_error(unharmed: ProxyProcess, method: str) -> None:
    reply = await ask(unharmed.port, request(method, "/task/list"))
    assert reply.status == 400 or reply.json.keys() == {"error"}


@pytest.mark.parametrize(
    "wanted",
    [
        "../../x",
        "a" * 5000,
        "__proto__",
        "0a1b2c3d-0000-4000-8000",
        "\uff10a1b2c3d-0000-4000-8000-000000000000",
        "%00",
        ".",
    ],
)
async def test_an_absurd_id_is_refused(unharmed: ProxyProcess, wanted: str) -> None:
    for path in ("/task/new/init", "/task/new"):
        body = form(file_part("a.jpg", b"x"))
        reply = await ask(unharmed.port, request("POST", path, body, kind=FORM, headers={"set-uuid": wanted}))
        assert "Invalid set-uuid" in reply.json["error"]


@pytest.mark.parametrize("query", ["token=a&token=b", "token=a&_debugUnauthorized=1", "_debugUnauthorized=x"])
async def test_a_doubled_token_is_401(unharmed: ProxyProcess, query: str) -> None:
    for path in ("/info", "/task/list", "/nothing"):
        reply = await ask(unharmed.port, request("GET", f"{path}?{query}"))
        assert (reply.status, reply.body) == (401, b"")
        assert "content-type" not in reply.headers


def beside_the_uploads(proxy: ProxyProcess) -> set[Path]:
    """Every path around the program but those in its spool, and on the node to which it passes them on."""
    paths = proxy.data.parent.rglob("*")
    return {path for path in paths if "data/spool" not in str(path) and "/node/" not in str(path)}


async def test_any_file_name_is_only_a_name(unharmed: ProxyProcess, standing: Standing) -> None:
    outside = beside_the_uploads(unharmed)
    task = (await init(unharmed))["uuid"]
    body = form(*(file_part(name, name.encode()) for name in NAMES))
    reply = await ask(unharmed.port, request("POST", f"/task/new/upload/{task}", body, kind=FORM))
    assert reply.json == {"success": True}
    files = list((unharmed.data / "spool" / task / "files").iterdir())
    assert sorted(path.read_bytes() for path in files) == sorted(name.encode() for name in NAMES)
    assert beside_the_uploads(unharmed) == outside
    assert await commit(unharmed, task) == {"uuid": task}
    assert await ended(unharmed, task) == 40
    assert len(standing.node.tasks[task].files) == len(NAMES)
    assert await unharmed.post("/task/remove", data={"uuid": task}) == {"success": True}


async def test_equal_names_in_parallel_requests_are_all_kept(unharmed: ProxyProcess) -> None:
    task = (await init(unharmed))["uuid"]
    contents = [bytes([number]) * 50_000 for number in range(20)]
    answers = await asyncio.gather(*(upload(unharmed, task, {"a.jpg": content}) for content in contents))
    assert answers == [{"success": True}] * len(contents)
    files = (unharmed.data / "spool" / task / "files").iterdir()
    assert sorted(path.read_bytes() for path in files) == contents
    assert await unharmed.post("/task/remove", data={"uuid": task}) == {"success": True}


async def test_http_1_0_is_answered_and_closed(unharmed: ProxyProcess) -> None:
    reply = parsed(await talk(unharmed.port, b"GET /info HTTP/1.0\r\n\r\n"))
    assert (reply.status, reply.json["version"]) == (200, "1.5.3")


async def test_pipelined_requests_are_answered_in_order(unharmed: ProxyProcess) -> None:
    one = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    sent = b"".join(one % number for number in range(50)) + request("GET", "/last")
    reply = await talk(unharmed.port, sent)
    at = [reply.index(b'Cannot handle /%d"' % number) for number in range(50)]
    assert at == sorted(at)
    assert b"Cannot handle /last" in reply[at[-1] :]


async def test_a_body_that_nobody_read_does_not_become_a_request(unharmed: ProxyProcess) -> None:
    smuggled = request("GET", "/smuggled")
    keep = {"Connection": "keep-alive"}
    sent = request("POST", "/nothing", smuggled, headers=keep) + request("GET", "/last")
    reply = await talk(unharmed.port, sent)
    assert b"smuggled" not in reply
    assert b"Cannot handle /last" in reply


async def test_expect_100_is_answered_before_the_body_is_sent(unharmed: ProxyProcess) -> None:
    async with asyncio.timeout(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", unharmed.port)
        whole = request("POST", "/task/remove", b"uuid=x", kind=URLENCODED)
        head, _, body = whole.partition(b"\r\n\r\n")
        writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert b"Invalid route" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_expect_100_with_a_bad_token_is_401_at_once(unharmed: ProxyProcess) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "1000000"}
    reply = await ask(unharmed.port, request("POST", "/task/new/init?token=a&token=b", headers=headers))
    assert reply.status == 401


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.3"])
async def test_an_offer_to_upgrade_is_ignored(unharmed: ProxyProcess, upgrade: str) -> None:
    headers = {"Connection": "Upgrade, close", "Upgrade": upgrade}
    reply = await ask(
        unharmed.port,
        request("POST", "/task/remove", b"uuid=x", kind=URLENCODED, headers=headers),
    )
    assert "Invalid route for taskId x" in reply.json["error"]


async def test_a_compressed_form_is_an_error(unharmed: ProxyProcess) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "junk"):
        for path in ("/task/remove", "/task/new/init", "/task/new", "/commit"):
            sent = request(
                "POST",
                path,
                gzip.compress(b"uuid=x"),
                kind=URLENCODED,
                headers={"Content-Encoding": encoding},
            )
            assert (await ask(unharmed.port, sent)).json.keys() == {"error"}
