"""The photos a drone would have taken of the drawn terrain: overlapping JPEGs with positions, times and a camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from PIL import ExifTags, Image

from clusterodm_py.demo.terrain import draw_terrain

_METERS_PER_DEGREE: Final = 111_320.0
_SENSOR_ON_FILM: Final = 36.0  # mm; what the 35 mm equivalent of a focal length refers to


@dataclass(frozen=True, slots=True)
class Shot:
    """A moment of the flight; columns count from the west, rows from the south."""

    number: int
    column: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A lawn mower pattern, camera straight down, north up. Lengths in meters."""

    columns: int = 6
    rows: int = 4
    height: float = 80.0
    ground: float = 540.0
    """Altitude of the terrain above the sea."""
    focal_35mm: int = 24
    pixels: tuple[int, int] = (800, 600)
    overlap: float = 0.7
    latitude: float = 46.9605
    """Of the first, south-western, photo."""
    longitude: float = 7.4082
    start: datetime = datetime(2026, 6, 21, 10, 30)  # noqa: DTZ001  EXIF times are local, without a zone
    seconds_apart: int = 3

    @property
    def meters_per_pixel(self) -> float:
        return self.height * _SENSOR_ON_FILM / self.focal_35mm / self.pixels[0]

    @property
    def step(self) -> tuple[int, int]:
        """Pixels between neighbors, east and north."""
        return round(self.pixels[0] * (1 - self.overlap)), round(self.pixels[1] * (1 - self.overlap))

    @property
    def terrain(self) -> tuple[int, int]:
        """Pixels of the land that the photos cover together."""
        across = self.pixels[0] + (self.columns - 1) * self.step[0]
        return across, self.pixels[1] + (self.rows - 1) * self.step[1]

    def shots(self) -> Iterator[Shot]:
        """In the order of the flight: rows from the south, to and fro."""
        for number in range(self.columns * self.rows):
            row, column = divmod(number, self.columns)
            yield Shot(number + 1, column if row % 2 == 0 else self.columns - 1 - column, row)


def take_photos(folder: Path, dice: Random, flight: Flight | None = None) -> list[Path]:
    """Draw the terrain and photograph it into `folder`; in the order of the flight."""
    flight = flight or Flight()
    land = draw_terrain(flight.terrain, dice)
    return [_take(land, folder, flight, shot) for shot in flight.shots()]


def _take(land: Image.Image, folder: Path, flight: Flight, shot: Shot) -> Path:
    width, height = flight.pixels
    left, top = shot.column * flight.step[0], (flight.rows - 1 - shot.row) * flight.step[1]
    path = folder / f"DEMO_{shot.number:04d}.JPG"
    land.crop((left, top, left + width, top + height)).save(path, quality=88, exif=_exif(flight, shot))
    return path


def _exif(flight: Flight, shot: Shot) -> Image.Exif:
    exif = Image.Exif()
    base = ExifTags.Base
    exif.update({base.Make: "clusterodm-py", base.Model: "Demo Camera", base.Orientation: 1})
    taken = flight.start + timedelta(seconds=shot.number * flight.seconds_apart)
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            base.DateTimeOriginal: f"{taken:%Y:%m:%d %H:%M:%S}",
            base.FocalLength: flight.focal_35mm * 0.37,
            base.FocalLengthIn35mmFilm: flight.focal_35mm,
            base.SubjectDistance: flight.height,
            base.FNumber: 2.8,
            base.ExposureTime: 0.001,
            base.ISOSpeedRatings: 100,
            base.ExifImageWidth: flight.pixels[0],
            base.ExifImageHeight: flight.pixels[1],
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(_position(flight, shot))
    return exif


def _position(flight: Flight, shot: Shot) -> dict[int, object]:
    east, north = (
        steps * size * flight.meters_per_pixel
        for steps, size in zip((shot.column, shot.row), flight.step, strict=True)
    )
    latitude = flight.latitude + north / _METERS_PER_DEGREE
    longitude = flight.longitude + east / _METERS_PER_DEGREE / math.cos(math.radians(flight.latitude))
    gps = ExifTags.GPS
    return {
        gps.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        gps.GPSLatitude: _sexagesimal(latitude),
        gps.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        gps.GPSLongitude: _sexagesimal(longitude),
        gps.GPSAltitudeRef: b"\0",
        gps.GPSAltitude: flight.ground + flight.height,
    }


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes, seconds = divmod(abs(degrees) * 3600, 60)
    whole, minutes = divmod(minutes, 60)
    return whole, minutes, round(seconds, 6)
