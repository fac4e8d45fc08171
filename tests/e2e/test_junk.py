"""Broken and hostile requests: each is answered at once, leaves nothing behind and hurts nobody (contract §12)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from harness.bodies import BOUNDARY, field_part, file_head, file_part, form, part
from harness.proxy import ProxyProcess
from harness.tasks import init
from harness.wire import FORM, URLENCODED, ask, parsed, request, talk

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = file_part("a.jpg", b"\xff\xd8" * 5000)


def stored(proxy: ProxyProcess, task: str) -> list[Path]:
    return [path for path in (proxy.data / "spool" / task).rglob("*") if path.is_file()]


def noise(count: int) -> bytes:
    return random.Random(1).randbytes(count)


BROKEN: dict[str, tuple[str, bytes]] = {
    "empty": ("", b""),
    "no type": ("", form(PICTURE)),
    "json": ("application/json", b'{"name": "x"}'),
    "broken json": ("application/json", b'{"na'),
    "deep json": ("application/json", b"[" * 1_000_000),
    "text": ("text/plain", b"hello"),
    "a type that is none": ("\xff;=;", b"hello"),
    "no boundary": ("multipart/form-data", form(PICTURE)),
    "empty boundary": ("multipart/form-data; boundary=", form(PICTURE)),
    "long boundary": (f"multipart/form-data; boundary={'b' * 5000}", form(PICTURE)),
    "another boundary": ("multipart/form-data; boundary=other", form(PICTURE)),
    "empty form": (FORM, b""),
    "cut in a file": (FORM, form(PICTURE)[:-2000]),
    "cut in a header": (FORM, file_head("a.jpg")[:-10]),
    "without its end": (FORM, PICTURE),
    "noise": (FORM, noise(200_000)),
    "noise in a part": (FORM, b"--" + BOUNDARY.encode() + b"\r\n" + noise(200_000)),
    "part without headers": (FORM, form(b"--" + BOUNDARY.encode() + b"\r\n\r\nx\r\n")),
    "header bomb in a part": (FORM, form(part(b"form-data; name=x" + b"; y=z" * 100_000, b""))),
    "headers bomb in a part": (
        FORM,
        form(part(b"form-data; name=x\r\n" + b"\r\n".join(b"H%d: x" % n for n in range(50_000)), b"")),
    ),
    "giant field": (FORM, form(field_part("name", b"x" * (2 << 20)))),
    "a million fields": (FORM, form(field_part("n", b"") * 1_000_000)),
    "NUL in a field name": (FORM, form(field_part("a\x00b", b"x"))[:-3]),
    "huge": ("application/json", b'{"uuid": "' + b"x" * (20 << 20) + b'"}'),
    "urlencoded bomb": (URLENCODED, b"a&" * 2_000_000),
    "urlencoded fields": (URLENCODED, b"&".join(b"f%d=x" % n for n in range(2000))),
}


@pytest.mark.parametrize(
    "path", ["/task/new/init", "/task/new", "/task/cancel", "/task/remove", "/task/restart"]
)
@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_body_is_an_error_at_once(unharmed: ProxyProcess, path: str, what: str) -> None:
    kind, body = BROKEN[what]
    if what == "empty form" and path == "/task/new/init":
        body = form()[:-10]
    reply = await ask(unharmed.port, request("POST", path, body, kind=kind))
    assert (reply.status, list(reply.json)) == (200, ["error"])
    assert reply.json["error"] != "exception"


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_upload_is_an_error_and_stores_nothing(unharmed: ProxyProcess, what: str) -> None:
    kind, body = BROKEN[what]
    task = (await init(unharmed))["uuid"]
    reply = await ask(unharmed.port, request("POST", f"/task/new/upload/{task}", body, kind=kind))
    assert (reply.status, list(reply.json)) == (200, ["error"])
    assert reply.json["error"] != "exception"
    assert await emptied(unharmed, task)
    await removed(unharmed, task)


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_hook_or_commit_is_an_error(unharmed: ProxyProcess, what: str) -> None:
    kind, body = BROKEN[what]
    task = (await init(unharmed))["uuid"]
    for path in ("/commit", f"/task/new/commit/{task}"):
        reply = await ask(unharmed.port, request("POST", path, body, kind=kind))
        assert reply.status == 200
        assert reply.json.keys() == {"error"} or (path, what) == ("/commit", "json")
    await removed(unharmed, task)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([file_part("a.jpg", bytes(5 << 20), field="foo")], id="another field"),
        pytest.param([PICTURE, file_part("a.jpg", b"x", field="foo")], id="another field after a good one"),
        pytest.param(
            [part(b'form-data; name="foo"', bytes(1 << 20), b"application/octet-stream")], id="no filename"
        ),
        pytest.param([field_part("images", b"text")], id="no file at all"),
        pytest.param([part(b"form-data", b"x", b"image/jpeg")], id="no name at all"),
    ],
)
@pytest.mark.parametrize("one_shot", [False, True])
async def test_a_form_without_images_is_an_error_at_once(
    unharmed: ProxyProcess, parts: list[bytes], one_shot: bool
) -> None:
    task = (await init(unharmed))["uuid"]
    path = "/task/new" if one_shot else f"/task/new/upload/{task}"
    reply = await ask(unharmed.port, request("POST", path, form(*parts), kind=FORM))
    assert reply.json.keys() == {"error"}
    await removed(unharmed, task)


@pytest.mark.parametrize("one_shot", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_that_breaks_off_leaves_nothing(
    unharmed: ProxyProcess, one_shot: bool, chunked: bool
) -> None:
    task = (await init(unharmed))["uuid"]
    path = "/task/new" if one_shot else f"/task/new/upload/{task}"
    body = file_head("a.jpg") + bytes(1 << 20)
    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(5 << 20)}
    sent = b"200000\r\n" + body if chunked else body
    reply = await talk(
        unharmed.port, request("POST", path, sent, kind=FORM, headers=headers), half_close=True
    )
    assert not reply or parsed(reply).json.keys() == {"error"}
    assert await emptied(unharmed, task)
    await removed(unharmed, task)


@pytest.mark.parametrize("one_shot", [False, True])
async def test_broken_chunks_are_an_error(unharmed: ProxyProcess, one_shot: bool) -> None:
    task = (await init(unharmed))["uuid"]
    path = "/task/new" if one_shot else f"/task/new/upload/{task}"
    body = b"10\r\n" + file_head("a.jpg")[:16] + b"\r\nzzz\r\nxxxx"
    reply = await ask(
        unharmed.port, request("POST", path, body, kind=FORM, headers={"Transfer-Encoding": "chunked"})
    )
    assert reply.status == 400 or reply.json.keys() == {"error"}
    assert await emptied(unharmed, task)
    await removed(unharmed, task)


async def emptied(proxy: ProxyProcess, task: str) -> bool:
    """Whether no byte of the task is left, soon."""
    async with asyncio.timeout(2):
        while stored(proxy, task):
            await asyncio.sleep(0.02)
    return True


async def removed(proxy: ProxyProcess, task: str) -> None:
    assert await proxy.post("/task/remove", data={"uuid": task}) == {"success": True}
