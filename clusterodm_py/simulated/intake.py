"""Uploads before their commit: forms streamed to disk in constant memory. Knows no routes and no replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from aiohttp import web
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.filenames import safe_name, unique_name
from clusterodm_py.simulated.tasks import Fields

FILES: Final = "images"
"""The form field that files come in."""


@dataclass(slots=True, kw_only=True)
class Upload:
    """An initialised task: its folder fills while files arrive."""

    id: str
    folder: Path
    fields: Fields = field(default_factory=Fields)
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Whole files by name, with their sizes."""
    _names: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def name_for(self, raw: str) -> str:
        """A name no other file of this upload has or will get; called from many threads."""
        with self._lock:
            name = unique_name(safe_name(raw), self._names)
            self._names.add(name)
        return name

    def give_up(self, name: str) -> None:
        """The file did not arrive, so its name is free again."""
        (self.folder / name).unlink(missing_ok=True)
        with self._lock:
            self._names.discard(name)
            self.files.pop(name, None)


@dataclass(slots=True)
class Form:
    """What one request brought."""

    texts: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


async def read_form(
    request: web.Request, upload: Upload | None, halfway: Callable[[], Awaitable[None]] | None = None
) -> Form:
    """Read a multipart body; files go to `upload`, and without one they are refused.

    `halfway` is awaited once, after the first piece of the body. Raises BadRequest; then, as when the connection
    breaks, no file of this request is kept. Other bodies are read as forms without fields, as NodeODM does.
    """
    if not request.content_type.startswith("multipart/"):
        return Form()
    reader = _Reader(_boundary(request), upload)
    try:
        async for chunk in request.content.iter_any():
            await _undisturbed(reader.feed, chunk)
            if halfway is not None:
                await halfway()
                halfway = None
        return reader.finish()
    except BaseException:
        reader.abandon()
        raise


async def _undisturbed(work: Callable[[bytes], None], data: bytes) -> None:
    """Run `work` in a thread; cancelled, wait for its end first, so that nothing is opened behind our back."""
    running = asyncio.get_running_loop().run_in_executor(None, work, data)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _boundary(request: web.Request) -> str:
    _, parameters = parse_options_header(request.headers.get("Content-Type", ""))
    if boundary := parameters.get("boundary"):
        return str(boundary)
    raise BadRequest("Multipart: Boundary not found")


class _Reader:
    """Turns the parser's events into texts and files. `feed` blocks on the disk."""

    def __init__(self, boundary: str, upload: Upload | None) -> None:
        self._parser = PushMultipartParser(boundary)
        self._upload = upload
        self._form = Form()
        self._part: _Text | _File | None = None

    def feed(self, chunk: bytes) -> None:
        try:
            for event in self._parser.parse(chunk):
                match event:
                    case MultipartSegment():
                        self._part = self._begun(event)
                    case None:
                        self._completed()
                    case _ if self._part is not None:
                        self._part.write(event)
        except MultipartError as error:
            raise BadRequest(f"Malformed form: {error}") from None

    def finish(self) -> Form:
        """Raises BadRequest when the body ended too soon."""
        try:
            self._parser.close()
        except MultipartError:
            raise BadRequest("Unexpected end of form") from None
        return self._form

    def abandon(self) -> None:
        if isinstance(self._part, _File):
            self._part.close()
            self._form.files.append(self._part.name)
        for name in self._form.files:
            if self._upload is not None:
                self._upload.give_up(name)

    def _begun(self, segment: MultipartSegment) -> _Text | _File:
        if segment.filename is None:
            return _Text(segment.name or "")
        if self._upload is None or segment.name != FILES:
            raise BadRequest("Unexpected field")
        name = self._upload.name_for(segment.filename)
        return _File(name, (self._upload.folder / name).open("wb"))

    def _completed(self) -> None:
        part, self._part = self._part, None
        match part:
            case _Text():
                self._form.texts[part.name] = part.value.decode(errors="replace")
            case _File() if self._upload is not None:
                self._upload.files[part.name] = part.close()
                self._form.files.append(part.name)
            case _:
                pass


@dataclass(slots=True)
class _Text:
    name: str
    value: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes | bytearray) -> None:
        self.value += data


@dataclass(slots=True)
class _File:
    name: str
    file: BinaryIO

    def write(self, data: bytes | bytearray) -> None:
        self.file.write(data)

    def close(self) -> int:
        """The size."""
        size = self.file.tell()
        self.file.close()
        return size
