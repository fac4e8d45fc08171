"""A multipart body as a stream of events, in constant memory. Knows nothing of tasks or disks."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from clusterodm_py.core.errors import BadRequest

LARGEST_FIELD: Final = 1024 * 1024
"""Bytes of one form field's value (contract §1.0.2). A larger one is refused, not cut."""

MOST_PARTS: Final = 100_000
"""Parts of one request: more than ten times the largest upload anybody sends in one."""

LARGEST_PREAMBLE: Final = 64 * 1024
"""Bytes that may come before the first part. Nobody sends any; a body that is no form is all preamble."""

_ENCODED_NAME: Final = re.compile(
    r""";\s*filename\*\s*=\s*"?([\w-]+)'[^']*'([^\s;"]*)""", re.ASCII | re.IGNORECASE
)

_NOT_FILES: Final = frozenset({"", "application/json", "application/x-www-form-urlencoded"})


@dataclass(frozen=True, slots=True)
class Field:
    """A form field, whole."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileStart:
    """A file begins; `filename` is as the client sent it, so not to be trusted."""

    field: str
    filename: str


@dataclass(frozen=True, slots=True)
class FileData:
    """Some bytes of the file begun last."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The file begun last is whole."""


Part: TypeAlias = Field | FileStart | FileData | FileEnd


def boundary_of(content_type: str) -> str:
    """The boundary in a Content-Type header. Raises BadRequest when there is none."""
    kind, options = parse_options_header(content_type)
    if not kind.startswith("multipart/"):
        raise BadRequest("Send the files as multipart/form-data, under the field 'images'.")
    boundary: str = options.get("boundary", "")
    if not boundary or not boundary.isprintable():
        raise BadRequest("The Content-Type header lacks the boundary of its multipart form.")
    return boundary


async def parts(stream: AsyncIterable[bytes], boundary: str) -> AsyncGenerator[Part, None]:
    """The parts of the body in their order.

    Raises BadRequest when the body is no multipart form, ends in its middle, or holds a field that is too large.
    """
    # Latin-1 takes any byte: what a name is really written in is found out below, and junk is not an error there.
    parser = PushMultipartParser(boundary, max_segment_count=MOST_PARTS, header_charset="latin-1")
    reading = _Reading()
    try:
        async for chunk in stream:
            if not chunk:  # to the parser, this would be the end
                continue
            for event in parser.parse(chunk):
                for part in reading.take(event):
                    yield part
            reading.passed(len(chunk))
        parser.close()
    except MultipartError as error:
        raise BadRequest(f"The body is not a whole multipart form: {error}.") from None


class _Reading:
    """The segment under way."""

    def __init__(self) -> None:
        self._segment: MultipartSegment | None = None
        self._field: bytearray | None = None
        self._preamble = 0

    def take(self, event: MultipartSegment | bytes | None) -> Iterator[Part]:
        if event is None:
            yield self._end()
        elif isinstance(event, MultipartSegment):
            self._segment = event
            filename = _filename(event)
            self._field = None if _is_file(event, filename) else bytearray()
            if self._field is None:
                yield FileStart(_text(event.name), filename or "")
        elif self._field is None:
            yield FileData(bytes(event))
        else:
            self._field += event
            if len(self._field) > LARGEST_FIELD:
                raise BadRequest(f"A form field is larger than {LARGEST_FIELD} bytes.")

    def passed(self, count: int) -> None:
        """Note that `count` bytes were read. Raises BadRequest when no part began in far too many."""
        if self._segment is None:
            self._preamble += count
            if self._preamble > LARGEST_PREAMBLE:
                raise BadRequest(
                    "The body is not a multipart form with the boundary its Content-Type header names."
                )

    def _end(self) -> Part:
        if self._field is None or self._segment is None:
            return FileEnd()
        return Field(_text(self._segment.name), self._field.decode("utf-8", "replace"))


def _is_file(segment: MultipartSegment, filename: str | None) -> bool:
    """Without a filename the type decides: ClusterODM hangs on such parts (contract §12 D-12)."""
    kind: str = segment.content_type or ""
    return filename is not None or not (kind in _NOT_FILES or kind.startswith(("text/", "multipart/")))


def _filename(segment: MultipartSegment) -> str | None:
    """`filename*` (RFC 5987) goes first: clients that send it leave `filename` out, or put a poorer one there."""
    if encoded := _ENCODED_NAME.search(segment.header("Content-Disposition", "")):
        charset, name = encoded.groups()
        return unquote(name, "latin-1" if charset.lower() == "iso-8859-1" else "utf-8", "replace")
    return None if segment.filename is None else _text(segment.filename)


def _text(header: str | None) -> str:
    """A name as its client meant it: UTF-8 as nearly all write, or else the Latin-1 of old systems."""
    raw = (header or "").encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
