"""What a client does to a proxy: upload a task, and wait until it is where it should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from harness.proxy import ProxyProcess

IMAGES: Mapping[str, bytes] = {
    f"image_{number}.jpg": b"\xff\xd8" + bytes([number]) * 2000 for number in range(3)
}


def files_form(files: Mapping[str, bytes], field: str = "images") -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, content in files.items():
        form.add_field(field, content, filename=name, content_type="image/jpeg")
    return form


async def init(proxy: ProxyProcess, *, token: str = "", uuid: str | None = None, **fields: str) -> Any:
    form = aiohttp.FormData()
    form.add_field("options", fields.pop("options", "[]"), content_type="text/plain")
    for name, value in fields.items():
        form.add_field(name, value)
    headers = {"set-uuid": uuid} if uuid else {}
    return await proxy.post(f"/task/new/init?token={token}", data=form, headers=headers)


async def upload(
    proxy: ProxyProcess, task: str, files: Mapping[str, bytes] = IMAGES, *, token: str = ""
) -> Any:
    return await proxy.post(f"/task/new/upload/{task}?token={token}", data=files_form(files))


async def commit(proxy: ProxyProcess, task: str, *, token: str = "") -> Any:
    return await proxy.post(f"/task/new/commit/{task}?token={token}")


async def submit(
    proxy: ProxyProcess,
    *,
    files: Mapping[str, bytes] = IMAGES,
    options: list[dict[str, Any]] | None = None,
    token: str = "",
    **fields: str,
) -> str:
    """Init, upload and commit; the id of the task."""
    begun = await init(proxy, options=json.dumps(options or []), token=token, **fields)
    task: str = begun["uuid"]
    assert await upload(proxy, task, files, token=token) == {"success": True}
    assert await commit(proxy, task, token=token) == {"uuid": task}
    return task


async def info(proxy: ProxyProcess, task: str, **query: str) -> Any:
    return await proxy.get(f"/task/{task}/info", params=query)


async def status(proxy: ProxyProcess, task: str, token: str = "") -> int:
    answer = await info(proxy, task, token=token)
    code: int = answer["status"]["code"]
    return code


async def ended(proxy: ProxyProcess, task: str, *, seconds: float = 30.0, token: str = "") -> int:
    """Wait for the task's end; its status."""
    async with asyncio.timeout(seconds):
        while (code := await status(proxy, task, token)) < 30:
            await asyncio.sleep(0.1)
    return code
