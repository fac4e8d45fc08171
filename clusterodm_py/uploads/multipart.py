"""A multipart body as a stream of events, in constant memory. Knows nothing of tasks or disks."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from clusterodm_py.core.errors import BadRequest

LARGEST_FIELD: Final = 1024 * 1024
"""Bytes of one form field's value (contract §1.0.2). A larger one is refused, not cut."""

MOST_PARTS: Final = 100_000
"""Parts of one request: more than ten times the largest upload anybody sends in one."""


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
    if not boundary:
        raise BadRequest("The Content-Type header lacks the boundary of its multipart form.")
    return boundary


async def parts(stream: AsyncIterable[bytes], boundary: str) -> AsyncIterator[Part]:
    """The parts of the body in their order.

    Raises BadRequest when the body is no multipart form, ends in its middle, or holds a field that is too large.
    """
    try:
        parser = PushMultipartParser(boundary, max_segment_count=MOST_PARTS)
        reading = _Reading()
        async for chunk in stream:
            if parser.closed:
                continue  # an epilogue: allowed, and meaningless
            for event in parser.parse(chunk):
                for part in reading.take(event):
                    yield part
        parser.close()
    except MultipartError as error:
        raise BadRequest(f"The body is not a whole multipart form: {error}.") from None


class _Reading:
    """The segment under way."""

    def __init__(self) -> None:
        self._segment: MultipartSegment | None = None
        self._field: bytearray | None = None

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> Iterator[Part]:
        if event is None:
            yield self._end()
        elif isinstance(event, MultipartSegment):
            self._segment = event
            self._field = None if _is_file(event) else bytearray()
            if self._field is None:
                yield FileStart(event.name or "", event.filename or "")
        elif self._field is None:
            yield FileData(bytes(event))
        else:
            self._field += event
            if len(self._field) > LARGEST_FIELD:
                raise BadRequest(f"A form field is larger than {LARGEST_FIELD} bytes.")

    def _end(self) -> Part:
        if self._field is None or self._segment is None:
            return FileEnd()
        return Field(self._segment.name or "", self._field.decode("utf-8", "replace"))


def _is_file(segment: MultipartSegment) -> bool:
    """Without a filename the type decides: ClusterODM hangs on such parts (contract §12 D-12)."""
    kind: str = segment.content_type or ""
    return segment.filename is not None or kind.startswith("image/") or kind == "application/octet-stream"
