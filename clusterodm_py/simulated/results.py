"""The all.zip of a simulated task, with an orthophoto that opens in any GIS. Everything here blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from clusterodm_py.core.types import Json
from clusterodm_py.simulated.tiff import Raster, geotiff

if find_spec("PIL"):
    from clusterodm_py.simulated.mosaic import mosaic
else:

    def mosaic(images: Sequence[Path]) -> Raster | None:
        """Without Pillow no photo can be read."""
        return None


ORTHOPHOTO: Final = "odm_orthophoto/odm_orthophoto.tif"
_PADDING: Final = "padding.bin"
_ZEROS: Final = bytes(1 << 20)
_ENTRY_COST: Final = 30 + 46 + 2 * len(_PADDING)
"""Bytes an empty entry of that name adds: its local header and its line in the directory."""


def build_archive(
    target: Path, *, images: Sequence[Path], info: Mapping[str, Json], output: Sequence[str], size: int = 0
) -> None:
    """Write all.zip; it appears under its name complete or not at all. `size` pads it (exactly, below 2 GiB)."""
    draft = target.with_suffix(".part")
    with ZipFile(draft, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(ORTHOPHOTO, geotiff(orthophoto(images)))
        for name, text in _documents(images, info, output).items():
            archive.writestr(name, text)
    _pad(draft, size)
    draft.replace(target)


def orthophoto(images: Sequence[Path]) -> Raster:
    """A mosaic of the photos where they tell their positions and Pillow is there to read them, else a pattern."""
    return mosaic(images) or _pattern()


def _pattern(side: int = 256) -> Raster:
    """Fields as a child would draw them, off the coast of Africa."""
    rows = (
        bytes(
            channel
            for x in range(side)
            for channel in (90 + 20 * (x // 32 % 3), 120 + 20 * (y // 32 % 4), 70 + (x * y) % 9, 255)
        )
        for y in range(side)
    )
    return Raster(
        width=side, height=side, rgba=b"".join(rows), west=0.0, north=0.0, degrees_per_pixel=(1e-6, 1e-6)
    )


def _documents(images: Sequence[Path], info: Mapping[str, Json], output: Sequence[str]) -> dict[str, str]:
    names: list[Json] = [path.name for path in images]
    pretty: Mapping[str, Any] = {
        "odm_report/stats.json": {"images": len(names), "simulated": True},
        "cameras.json": {"v2 simulated camera": {"projection_type": "brown", "focal_x": 0.7}},
        "images.json": [{"filename": name} for name in names],
        "log.json": {"options": info.get("options"), "images": len(names), "success": True},
        "task.json": info,
    }
    return {
        **{name: json.dumps(content, indent=2) for name, content in pretty.items()},
        "task_output.txt": "\n".join(output) + "\n",
    }


def _pad(path: Path, size: int) -> None:
    """Append an entry of zeros so that the file is `size` long. It takes no room on disks that know holes."""
    missing = size - path.stat().st_size - _ENTRY_COST
    if missing <= 0:
        return
    entry = ZipInfo(_PADDING)
    entry.compress_type, entry.file_size = ZIP_STORED, missing
    with _Sparse(path, "r+") as file, ZipFile(file, "a") as archive:
        file.truncate(archive.start_dir)  # or the old directory would show through the hole
        with archive.open(entry, "w") as padding:
            for _ in range(missing // len(_ZEROS)):
                padding.write(_ZEROS)
            padding.write(bytes(missing % len(_ZEROS)))


class _Sparse(FileIO):
    """Skips over `_ZEROS` instead of writing them."""

    def write(self, data: Any, /) -> int:
        if data is _ZEROS:
            self.seek(len(_ZEROS), 1)
            return len(_ZEROS)
        return super().write(data)
