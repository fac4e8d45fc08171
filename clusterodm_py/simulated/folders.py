"""Where a simulated node keeps files. Every method blocks on the disk, so none belongs on the event loop."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusterodm_py.core.options import SEED

ARCHIVE: Final = "all.zip"


@dataclass(frozen=True, slots=True)
class Folders:
    """A folder per upload, and a project folder per task. Ids are checked to be uuids before they come here."""

    root: Path

    @property
    def register(self) -> Path:
        """Where tasks are written down at a clean exit."""
        return self.root / "tasks.json"

    def upload(self, task: str) -> Path:
        return self.root / "tmp" / task

    def project(self, task: str) -> Path:
        return self.root / "data" / task

    def images(self, task: str) -> Path:
        return self.project(task) / "images"

    def archive(self, task: str) -> Path:
        return self.project(task) / ARCHIVE

    def open_upload(self, task: str) -> None:
        self.upload(task).mkdir(parents=True, exist_ok=True)

    def drop_upload(self, task: str) -> None:
        shutil.rmtree(self.upload(task), ignore_errors=True)

    def drop_project(self, task: str) -> None:
        shutil.rmtree(self.project(task), ignore_errors=True)

    def move_in(self, task: str) -> tuple[str, ...]:
        """Make the upload a project: texts go to `gcp`, a seed.zip to the root. Returns the names of the images.

        Does nothing again when it was done before.
        """
        images = self.images(task)
        if self.upload(task).exists():
            self.project(task).mkdir(parents=True, exist_ok=True)
            self.upload(task).rename(images)
        for path in list(images.iterdir()):
            if path.name == SEED:
                path.rename(self.project(task) / SEED)
            elif path.suffix.lower() == ".txt":
                control = self.project(task) / "gcp"
                control.mkdir(exist_ok=True)
                path.rename(control / path.name)
        return tuple(sorted(path.name for path in images.iterdir()))
