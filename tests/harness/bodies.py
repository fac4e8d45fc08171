"""Multipart bodies as clients write them, and streams that deliver them in any pieces."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


def file_part(name: str, data: bytes, *, field: str = "images") -> bytes:
    return file_head(name, field=field) + data + b"\r\n"


def file_head(name: str, *, field: str = "images") -> bytes:
    """A file up to its first byte."""
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    disposition = f'form-data; name="{field}"; filename="{quoted}"'
    return part(disposition.encode("utf-8", "surrogatepass"), b"", kind=b"image/jpeg")[:-2]


def field_part(name: str, value: bytes) -> bytes:
    return part(f'form-data; name="{name}"'.encode(), value)


def part(disposition: bytes, data: bytes, kind: bytes = b"") -> bytes:
    head = [b"--" + BOUNDARY.encode(), b"Content-Disposition: " + disposition]
    if kind:
        head.append(b"Content-Type: " + kind)
    return b"\r\n".join([*head, b"", data, b""])


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """`body` cut at `cuts`, wherever in it they fall."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(places)]
