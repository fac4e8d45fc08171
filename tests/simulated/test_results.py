from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from clusterodm_py.simulated.results import ORTHOPHOTO, build_archive

GPS = 0x8825
PIXEL_SCALE, TIEPOINT, GEO_KEYS = 33550, 33922, 34735


def photo(path: Path, color: str, latitude: float, longitude: float) -> Path:
    exif = Image.Exif()
    exif.get_ifd(GPS).update({1: "S", 2: (latitude, 0.0, 0.0), 3: "W", 4: (longitude, 0.0, 0.0)})
    exif.get_ifd(0x8769).update({0x9206: 80.0, 0xA405: 24})
    Image.new("RGB", (80, 60), color).save(path, exif=exif)
    return path


def orthophoto_of(archive: Path) -> Image.Image:
    with ZipFile(archive) as opened:
        image: Image.Image = Image.open(io.BytesIO(opened.read(ORTHOPHOTO)))
        image.load()
        return image


def build(target: Path, images: list[Path], size: int = 0) -> Path:
    build_archive(target, images=images, info={"options": []}, output=["a line"], size=size)
    return target


def test_the_archive_holds_what_clients_look_for(tmp_path: Path) -> None:
    with ZipFile(build(tmp_path / "all.zip", [tmp_path / "a.jpg"])) as archive:
        assert archive.testzip() is None
        wanted = {
            ORTHOPHOTO,
            "cameras.json",
            "images.json",
            "log.json",
            "task_output.txt",
            "odm_report/stats.json",
        }
        assert wanted <= set(archive.namelist())
        assert json.loads(archive.read("images.json")) == [{"filename": "a.jpg"}]
    assert [path.name for path in tmp_path.iterdir()] == ["all.zip"]


def test_photos_lie_where_they_were_taken(tmp_path: Path) -> None:
    """Two photos 111 m apart, each 120 m wide: the western one is left, the southern one below."""
    west = photo(tmp_path / "w.jpg", "red", 10.0, 20.001)
    south_east = photo(tmp_path / "e.jpg", "blue", 10.001, 20.0)
    image = orthophoto_of(build(tmp_path / "all.zip", [west, south_east]))
    assert image.mode == "RGBA"
    red, blue = image.getpixel((20, 150)), image.getpixel((image.width - 20, image.height - 150))
    assert isinstance(red, tuple)
    assert isinstance(blue, tuple)
    assert (red[0] > 200, blue[2] > 200, red[3], blue[3]) == (True, True, 255, 255)
    corner = image.getpixel((image.width - 5, 5))
    assert isinstance(corner, tuple)
    assert corner[3] == 0


def test_the_orthophoto_knows_its_place(tmp_path: Path) -> None:
    image = orthophoto_of(build(tmp_path / "all.zip", [photo(tmp_path / "a.jpg", "red", 10.0, 20.0)]))
    tags = image.tag_v2  # type: ignore[attr-defined]
    across, down, _ = tags[PIXEL_SCALE]
    assert tags[GEO_KEYS][-5:] == (4326, 2054, 0, 1, 9102)
    assert tags[TIEPOINT][3] + across * image.width / 2 == pytest.approx(-20.0, abs=1e-6)
    assert tags[TIEPOINT][4] - down * image.height / 2 == pytest.approx(-10.0, abs=1e-5)
    assert across * image.width * 111_320 * 0.9848 == pytest.approx(120, rel=0.05)


def test_files_that_are_no_photos_give_a_picture_all_the_same(tmp_path: Path) -> None:
    junk, plain = tmp_path / "junk.jpg", tmp_path / "plain.jpg"
    junk.write_bytes(b"no picture")
    Image.new("RGB", (8, 8)).save(plain)
    assert orthophoto_of(build(tmp_path / "all.zip", [junk, plain, tmp_path / "gone.jpg"])).size == (256, 256)


@pytest.mark.parametrize("size", [100_000, (5 << 20) + 7])
def test_an_archive_is_padded_to_the_byte(tmp_path: Path, size: int) -> None:
    archive = build(tmp_path / "all.zip", [], size)
    assert archive.stat().st_size == size
    with ZipFile(archive) as opened:
        assert opened.testzip() is None


def test_padding_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    archive = build(tmp_path / "all.zip", [], 200 << 20)
    assert archive.stat().st_blocks * 512 < 20 << 20


def test_pillow_is_not_needed(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "from pathlib import Path\n"
        "from clusterodm_py.simulated.results import build_archive\n"
        "build_archive(Path(sys.argv[1]), images=[Path('a.jpg')], info={}, output=[])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "all.zip")], check=True, cwd=Path.cwd())
    assert orthophoto_of(tmp_path / "all.zip").size == (256, 256)
