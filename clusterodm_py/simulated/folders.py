"""Where a simulated node keeps files. Every method blocks on the disk, so none belongs on the event loop."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from clusterodm_py.core.options import SEED

ARCHIVE: Final = "all.zip"


@dataclass(frozen=True, slots=True)
class Folders:
    """A folder per upload, and a project folder per task. Ids are checked to be uuids before they come here."""

    root: Path
    _lock: Lock = field(default_factory=Lock)
    """A task may be removed while its files are still being moved in."""

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

    def drop(self, task: str) -> None:
        """Delete whatever there is of a task."""
        with self._lock:
            self.drop_upload(task)
            shutil.rmtree(self.project(task), ignore_errors=True)

    def move_in(self, task: str) -> tuple[str, ...]:
        """Make the upload a project: texts go to `gcp`, a seed.zip to the root. Returns the names of the images.

        Changes nothing when it was done before, or when the task was dropped meanwhile.
        """
        images = self.images(task)
        with self._lock:
            if self.upload(task).exists():
                # Left by a task of this id that a crash made us forget; NodeODM deletes such folders when it starts.
                shutil.rmtree(self.project(task), ignore_errors=True)
                self.project(task).mkdir(parents=True)
                self.upload(task).rename(images)
            files = list(images.iterdir()) if images.exists() else []
            for path in files:
                self._sort_out(path, self.project(task))
            return tuple(sorted(path.name for path in files if path.exists()))

    def _sort_out(self, path: Path, project: Path) -> None:
        if path.name == SEED:
            path.rename(project / SEED)
        elif path.suffix.lower() == ".txt":
            (project / "gcp").mkdir(exist_ok=True)
            path.rename(project / "gcp" / path.name)
