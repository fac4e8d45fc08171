"""Looks into the all.zip that came back, and takes the orthophoto out for whoever wants to see it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, ZipFile

from PIL import Image, UnidentifiedImageError

from clusterodm_py.core.errors import ClusterError

_ORTHOPHOTO: Final = "odm_orthophoto/odm_orthophoto.tif"


class BadOutcome(ClusterError):
    """What came back is not what a task should give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where the results are."""

    archive: Path
    tif: Path
    png: Path
    size: tuple[int, int]


def unpack(archive: Path) -> Outcome:
    """Check `archive` and put the orthophoto beside it, as it is and as PNG. Raises BadOutcome."""
    tif, png = archive.with_name("orthophoto.tif"), archive.with_name("orthophoto.png")
    try:
        with ZipFile(archive) as opened:
            if broken := opened.testzip():
                raise BadOutcome(f"{archive} is damaged at {broken}.")
            with opened.open(_ORTHOPHOTO) as source, tif.open("wb") as target:
                shutil.copyfileobj(source, target)
        with Image.open(tif) as image:
            image.save(png)
            return Outcome(archive=archive, tif=tif, png=png, size=image.size)
    except (BadZipFile, KeyError, UnidentifiedImageError) as error:
        raise BadOutcome(f"{archive} holds no readable orthophoto: {error}") from None
