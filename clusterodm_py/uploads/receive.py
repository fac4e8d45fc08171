"""One request body into one box: files are stored, fields are returned, anything else is refused at once."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.uploads.box import Arrival, Box, SpooledFile
from clusterodm_py.uploads.multipart import Field, FileData, FileEnd, FileStart, Part, parts

FIELD: Final = "images"
"""The form field files come under (contract §1.8)."""

_LARGEST_FIELDS: Final = 8 * 1024 * 1024
"""Characters of all fields of one request, names included."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one request brought."""

    files: tuple[SpooledFile, ...]
    fields: dict[str, str]


async def receive(box: Box, stream: AsyncIterable[bytes], boundary: str, most: int | None) -> Received:
    """Store the files of one request; as `Spool.receive` promises."""
    request = _Request(box, most)
    try:
        async with aclosing(parts(stream, boundary)) as arriving:
            async for part in arriving:
                await request.take(part)
    finally:
        await request.abandon()
    return Received(tuple(request.files), request.fields)


class _Request:
    """What one request has brought so far, and the file it is in the middle of."""

    def __init__(self, box: Box, most: int | None) -> None:
        self._box = box
        self._most = most
        self._arrival: Arrival | None = None
        self._fields_size = 0
        self.files: list[SpooledFile] = []
        self.fields: dict[str, str] = {}

    async def take(self, part: Part) -> None:
        match part:
            case FileStart(field=name, filename=filename):
                self._arrival = self._begin(name, filename)
            case FileData(data=data) if self._arrival is not None:
                await self._arrival.take(data)
            case FileEnd() if self._arrival is not None:
                self.files.append(await self._arrival.finish())
                self._arrival = None
            case Field(name=name, value=value):
                self._note(name, value)

    async def abandon(self) -> None:
        """Drop the file that did not become whole, if there is one."""
        if self._arrival is not None:
            await self._arrival.abandon()

    def _begin(self, name: str, filename: str) -> Arrival:
        if name != FIELD:
            raise BadRequest(f"Unexpected field '{name}': send files under the field '{FIELD}'.")
        return self._box.begin(filename, self._most)

    def _note(self, name: str, value: str) -> None:
        self.fields[name] = value  # the last of equal names wins
        self._fields_size += len(name) + len(value)
        if self._fields_size > _LARGEST_FIELDS:
            raise BadRequest("The form's fields are too large together.")
