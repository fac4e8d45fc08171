from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from clusterodm_py.demo.outcome import BadOutcome, unpack
from clusterodm_py.simulated.results import build_archive


def test_the_orthophoto_is_laid_beside_the_archive(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    build_archive(archive, images=[], info={}, output=[])
    outcome = unpack(archive)
    assert outcome.tif.read_bytes()[:2] == b"II"
    with Image.open(outcome.png) as image:
        assert image.size == outcome.size == (256, 256)


@pytest.mark.parametrize("content", [{}, {"odm_orthophoto/odm_orthophoto.tif": b"no picture"}])
def test_an_archive_without_an_orthophoto_is_no_outcome(tmp_path: Path, content: dict[str, bytes]) -> None:
    with ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(BadOutcome, match="no readable orthophoto"):
        unpack(tmp_path / "all.zip")


def test_what_is_no_archive_is_no_outcome(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(b"<html>")
    with pytest.raises(BadOutcome):
        unpack(tmp_path / "all.zip")
