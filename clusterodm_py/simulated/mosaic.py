"""Lays photos out by their EXIF positions: not photogrammetry, yet it looks like the place. Needs Pillow; blocks."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from clusterodm_py.simulated.tiff import Raster

logger = logging.getLogger(__name__)

METERS_PER_DEGREE: Final = 111_320.0
_LONGEST_SIDE: Final = 1400
_MOST_PHOTOS: Final = 400
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_SUBJECT_DISTANCE, _FOCAL_35MM = 0x9206, 0xA405
_FILM_WIDTH: Final = 36.0  # mm, what FocalLengthIn35mmFilm refers to
_USUAL_FOCAL: Final = 24.0
_USUAL_OVERLAP: Final = 3.3
"""Width of a photo over the distance to its neighbor, where the height above ground is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Photo:
    path: Path
    latitude: float
    longitude: float
    aspect: float
    """Height over width."""
    width: float | None
    """Meters of ground it shows, when its tags tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The ground the mosaic covers."""

    west: float
    north: float
    meters_per_pixel: float
    parallel: float
    """Length of a degree of longitude over one of latitude."""
    size: tuple[int, int]

    @property
    def degrees_per_pixel(self) -> tuple[float, float]:
        down = self.meters_per_pixel / METERS_PER_DEGREE
        return down / self.parallel, down

    def pixel(self, latitude: float, longitude: float) -> tuple[float, float]:
        across, down = self.degrees_per_pixel
        return (longitude - self.west) / across, (self.north - latitude) / down


def mosaic(images: Sequence[Path]) -> Raster | None:
    """The photos side by side, or None when fewer than one tells where it was taken."""
    photos = [photo for path in images[:_MOST_PHOTOS] if (photo := _read(path))]
    if not photos:
        return None
    usual = _USUAL_OVERLAP * _spacing(photos)
    frame = _frame(photos, usual)
    canvas = Image.new("RGBA", frame.size)
    for photo in photos:
        _paste(canvas, photo, frame, usual)
    return Raster(
        width=canvas.width,
        height=canvas.height,
        rgba=canvas.tobytes(),
        west=frame.west,
        north=frame.north,
        degrees_per_pixel=frame.degrees_per_pixel,
    )


def _read(path: Path) -> _Photo | None:
    """None for whatever is no photo with a position."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            gps, details = exif.get_ifd(_GPS_IFD), exif.get_ifd(_EXIF_IFD)
            distance, focal = details.get(_SUBJECT_DISTANCE), details.get(_FOCAL_35MM)
            return _Photo(
                path=path,
                latitude=_degrees(gps[2], negative=gps.get(1) == "S"),
                longitude=_degrees(gps[4], negative=gps.get(3) == "W"),
                aspect=image.height / image.width,
                width=float(distance) * _FILM_WIDTH / (float(focal or 0) or _USUAL_FOCAL)
                if distance
                else None,
            )
    except (OSError, SyntaxError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        logger.debug("%s has no usable position: %s", path.name, error)
        return None


def _degrees(parts: Sequence[float], *, negative: bool) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        raise ValueError("position without a number")
    return -value if negative else value


def _spacing(photos: Sequence[_Photo]) -> float:
    """Median distance in meters from a photo to its nearest neighbor."""
    parallel = math.cos(math.radians(photos[0].latitude))
    places = [(photo.longitude * parallel, photo.latitude) for photo in photos]
    nearest = sorted(
        min((math.dist(place, other) for other in places if other != place), default=0.0) for place in places
    )
    return nearest[len(nearest) // 2] * METERS_PER_DEGREE or 30.0


def _frame(photos: Sequence[_Photo], usual: float) -> _Frame:
    parallel = max(0.01, math.cos(math.radians(photos[0].latitude)))
    beside = max(photo.width or usual for photo in photos) / 2 / METERS_PER_DEGREE / parallel
    above = max((photo.width or usual) * photo.aspect for photo in photos) / 2 / METERS_PER_DEGREE
    west = min(photo.longitude for photo in photos) - beside
    east = max(photo.longitude for photo in photos) + beside
    south = min(photo.latitude for photo in photos) - above
    north = max(photo.latitude for photo in photos) + above
    across, down = (east - west) * parallel * METERS_PER_DEGREE, (north - south) * METERS_PER_DEGREE
    scale = max(across, down) / _LONGEST_SIDE
    size = (max(1, round(across / scale)), max(1, round(down / scale)))
    return _Frame(west=west, north=north, meters_per_pixel=scale, parallel=parallel, size=size)


def _paste(canvas: Image.Image, photo: _Photo, frame: _Frame, usual: float) -> None:
    width = max(1, round((photo.width or usual) / frame.meters_per_pixel))
    size = (width, max(1, round(width * photo.aspect)))
    x, y = frame.pixel(photo.latitude, photo.longitude)
    try:
        with Image.open(photo.path) as image:
            image.draft("RGB", size)
            tile = image.convert("RGB").resize(size)
    except (OSError, SyntaxError, ValueError) as error:
        logger.debug("%s cannot be decoded: %s", photo.path.name, error)
        return
    canvas.paste(tile, (round(x - size[0] / 2), round(y - size[1] / 2)))
