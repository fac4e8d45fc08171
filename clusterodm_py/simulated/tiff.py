"""A GeoTIFF out of bytes: RGBA, uncompressed, WGS 84. Needs no imaging library; decides nothing about the picture."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_SHORT, _LONG, _DOUBLE = 3, 4, 12
_LETTERS: Final = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_HEADER: Final = 8

_GEO_KEYS: Final = (
    *(1, 1, 0, 4),  # version 1.1.0, four keys: id, place, count, value
    *(1024, 0, 1, 2),  # model: geographic
    *(1025, 0, 1, 1),  # a pixel is an area
    *(2048, 0, 1, 4326),  # WGS 84
    *(2054, 0, 1, 9102),  # in degrees
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A picture with a place on Earth: north up, `west` and `north` are the outer corner of its first pixel."""

    width: int
    height: int
    rgba: bytes
    west: float
    north: float
    degrees_per_pixel: tuple[float, float]
    """Eastward and southward, both positive."""


def geotiff(raster: Raster) -> bytes:
    """The whole file."""
    across, down = raster.degrees_per_pixel
    entries: list[tuple[int, int, tuple[float, ...]]] = [
        (256, _LONG, (raster.width,)),
        (257, _LONG, (raster.height,)),
        (258, _SHORT, (8, 8, 8, 8)),  # bits per sample
        (259, _SHORT, (1,)),  # no compression
        (262, _SHORT, (2,)),  # RGB
        (273, _LONG, (_HEADER,)),  # the one strip begins right after the header
        (277, _SHORT, (4,)),  # samples per pixel
        (278, _LONG, (raster.height,)),
        (279, _LONG, (len(raster.rgba),)),
        (284, _SHORT, (1,)),  # samples interleaved
        (338, _SHORT, (2,)),  # the fourth is alpha
        (33550, _DOUBLE, (across, down, 0.0)),  # ModelPixelScale
        (33922, _DOUBLE, (0.0, 0.0, 0.0, raster.west, raster.north, 0.0)),  # ModelTiepoint
        (34735, _SHORT, _GEO_KEYS),
    ]
    directory = _HEADER + len(raster.rgba) + len(raster.rgba) % 2
    padding = b"\0" * (len(raster.rgba) % 2)
    return struct.pack("<2sHI", b"II", 42, directory) + raster.rgba + padding + _directory(entries, directory)


def _directory(entries: list[tuple[int, int, tuple[float, ...]]], start: int) -> bytes:
    """The image file directory at `start`, and after it the values that are too long to stand in an entry."""
    rows, overflow = [struct.pack("<H", len(entries))], b""
    beyond = start + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *values)
        if len(packed) <= 4:
            place = packed.ljust(4, b"\0")
        else:
            place = struct.pack("<I", beyond + len(overflow))
            overflow += packed
        rows.append(struct.pack("<HHI", tag, kind, len(values)) + place)
    return b"".join((*rows, struct.pack("<I", 0), overflow))
