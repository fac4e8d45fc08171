from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from PIL import ExifTags, Image

from clusterodm_py.demo.photos import Flight, take_photos

SMALL = Flight(columns=3, rows=2, pixels=(200, 150))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return take_photos(tmp_path_factory.mktemp("photos"), Random(1), SMALL)


def position(path: Path) -> tuple[float, float]:
    with Image.open(path) as image:
        gps = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    degrees = []
    for tag in (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLongitude):
        whole, minutes, seconds = (float(part) for part in gps[tag])
        degrees.append(whole + minutes / 60 + seconds / 3600)
    return degrees[0], degrees[1]


def test_a_flight_takes_a_photo_at_every_stop(photos: list[Path]) -> None:
    assert [path.name for path in photos] == [f"DEMO_000{number}.JPG" for number in range(1, 7)]
    with Image.open(photos[0]) as image:
        assert (image.format, image.size) == ("JPEG", (200, 150))


def test_rows_are_flown_to_and_fro(photos: list[Path]) -> None:
    places = [position(path) for path in photos]
    assert places[0][1] < places[1][1] < places[2][1] == pytest.approx(places[3][1])
    assert places[3][1] > places[4][1] > places[5][1]
    assert places[0][0] == pytest.approx(places[2][0])
    assert places[3][0] > places[0][0]


def test_neighbors_are_apart_what_the_overlap_leaves(photos: list[Path]) -> None:
    """120 m wide photos that share 70 %."""
    first, third = position(photos[0]), position(photos[3])
    assert (third[0] - first[0]) * 111_320 == pytest.approx(90 * 0.3, rel=0.01)


def test_tags_tell_camera_and_time(photos: list[Path]) -> None:
    with Image.open(photos[1]) as image:
        exif = image.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
    assert exif[ExifTags.Base.Make] == "clusterodm-py"
    assert details[ExifTags.Base.DateTimeOriginal] == "2026:06:21 10:30:06"
    assert float(details[ExifTags.Base.FocalLength]) == pytest.approx(8.88)


def test_neighbors_show_the_same_ground(photos: list[Path]) -> None:
    with Image.open(photos[0]) as first, Image.open(photos[1]) as second:
        shared = first.convert("L").crop((60, 0, 200, 150)), second.convert("L").crop((0, 0, 140, 150))
        pairs = zip(shared[0].tobytes(), shared[1].tobytes(), strict=True)
        assert sum(abs(a - b) for a, b in pairs) / (140 * 150) < 6


def test_the_same_dice_draw_the_same_land(photos: list[Path], tmp_path: Path) -> None:
    again = take_photos(tmp_path, Random(1), SMALL)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in photos]
