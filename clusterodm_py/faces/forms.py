"""Request bodies the proxy reads itself: form fields of any encoding, in bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import Json
from clusterodm_py.uploads.multipart import Field, FileStart, boundary_of, parts

LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes of a body that is held whole: many times the longest list of options."""

MOST_FIELDS: Final = 1000
"""Fields of one form: there are ten that mean anything (contract §1.7)."""

IDLE_SECONDS: Final = 60.0
"""How long a client may send nothing in the middle of its request (ClusterODM: 30, contract §1.8)."""

_TOO_MANY: Final = "The form has too many fields."

_URLENCODED: Final = "application/x-www-form-urlencoded"


async def chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises BadRequest when the client falls silent."""
    stream = request.content
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await stream.readany()
        except TimeoutError:
            raise BadRequest(
                f"Nothing arrived for {IDLE_SECONDS:g} seconds: send the request again."
            ) from None
        if not chunk:
            return
        yield chunk


async def form_fields(request: web.BaseRequest) -> dict[str, str]:
    """The fields of a multipart or urlencoded form; files in it are passed over, the last of equal names wins.

    Raises BadRequest when the body is neither (JSON is not what an upload begins with), broken or too large.
    """
    match request.content_type:
        case "application/x-www-form-urlencoded" if request.can_read_body:
            return _pairs(await body(request))
        case "multipart/form-data":
            return await _multipart_fields(request)
        case _:
            raise BadRequest("Send the fields as multipart/form-data or application/x-www-form-urlencoded.")


async def action_fields(request: web.BaseRequest) -> dict[str, str]:
    """The fields of cancel, remove and restart, which clients send in all three encodings (contract §1.15)."""
    if not request.can_read_body:
        return {}
    if request.content_type in (_URLENCODED, "multipart/form-data"):
        return await form_fields(request)
    content = await body(request)
    try:
        value: Json = json.loads(content)
    except (ValueError, RecursionError):
        return _pairs(content)
    return {name: _text(each) for name, each in value.items()} if isinstance(value, dict) else {}


async def body(request: web.BaseRequest) -> bytes:
    """The whole body. Raises BadRequest when it is larger than `LARGEST_BODY`."""
    content = bytearray()
    async for chunk in _bounded(request):
        content += chunk
    return bytes(content)


async def _multipart_fields(request: web.BaseRequest) -> dict[str, str]:
    boundary = boundary_of(request.headers["Content-Type"])
    fields: dict[str, str] = {}
    number = 0
    async with aclosing(parts(_bounded(request), boundary)) as arriving:
        async for part in arriving:
            number += isinstance(part, Field | FileStart)
            if number > MOST_FIELDS:
                raise BadRequest(_TOO_MANY)
            if isinstance(part, Field):
                fields[part.name] = part.value
    return fields


async def _bounded(request: web.BaseRequest) -> AsyncIterator[bytes]:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadRequest("Send the form as it is, without compressing it.")
    size = 0
    async for chunk in chunks(request):
        size += len(chunk)
        if size > LARGEST_BODY:
            raise BadRequest("The request is too large.")
        yield chunk


def _pairs(content: bytes) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        )
    except ValueError:
        raise BadRequest(_TOO_MANY) from None


def _text(value: Json) -> str:
    """A JSON value as the form field it stands for: `options` may come as a list instead of its text."""
    return value if isinstance(value, str) else json.dumps(value)
