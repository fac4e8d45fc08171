"""One task of a simulated node: what was received, where it stands, and how both look on the wire. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self

from clusterodm_py.core.options import filter_options, parse_user_options
from clusterodm_py.core.types import Json, OptionValue, TaskStatus
from clusterodm_py.simulated.options import ADDED_BY_NODE, SPECS

ENDED: Final = frozenset({TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.CANCELED})

_STORY: Final = (
    "[INFO]    The simulated engine starts",
    "[INFO]    Looking at {images} files",
    "[INFO]    Reading positions and camera models",
    "[INFO]    Extracting features",
    "[INFO]    Matching pairs of photos",
    "[INFO]    Building tracks",
    "[INFO]    Solving for camera positions",
    "[INFO]    Aligning the reconstruction",
    "[INFO]    Estimating depth maps",
    "[INFO]    Fusing depth maps",
    "[INFO]    Filtering the point cloud",
    "[INFO]    Meshing",
    "[INFO]    Texturing",
    "[INFO]    Georeferencing",
    "[INFO]    Rendering the orthophoto",
    "[INFO]    Writing the report",
)
_STORY_BEGINS_WITH: Final = 3
"""Lines shown at once: split-merge takes a task with three for one that really runs (contract §11.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The form fields of init or of the one-shot call (contract §1.7)."""

    name: str = ""
    options: str = ""
    skip_post_processing: bool = False
    webhook: str = ""
    outputs: str = ""
    date_created: int | None = None
    zip_url: str = ""

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Self:
        created = form.get("dateCreated", "")
        return cls(
            name=form.get("name", ""),
            options=form.get("options", ""),
            skip_post_processing=form.get("skipPostProcessing") == "true",
            webhook=form.get("webhook", ""),
            outputs=form.get("outputs", ""),
            date_created=int(created) if created.isascii() and created.isdigit() else None,
            zip_url=form.get("zipurl", ""),
        )


def filtered(source: str) -> tuple[OptionValue, ...]:
    """The options as the engine gets them. Raises BadRequest (contract §3.3)."""
    return filter_options(parse_user_options(source), SPECS)


@dataclass(slots=True, kw_only=True)
class SimulatedTask:
    """A committed task. Tests may read it; only `processing` changes it. Times are Unix seconds."""

    id: str
    fields: Fields
    name: str
    headers: dict[str, str]
    """Headers of the init, or of the one-shot call."""
    files: dict[str, int]
    """Names as received, of every kind, and their sizes."""
    options: tuple[OptionValue, ...]
    created: float
    images: tuple[str, ...] = ()
    """Sorted; what is neither seed.zip nor a text."""
    status: TaskStatus = TaskStatus.RUNNING
    initialised: bool = False
    started: float | None = None
    duration: float = 0.0
    ended: float | None = None
    starts: int = 0
    """How often processing began."""
    error: str | None = None
    fails: bool = False
    """Whether this run is bound to fail."""
    lines: list[str] = field(default_factory=list)
    """Output kept from a run that ended."""

    def share(self, now: float) -> float:
        """How much of the processing is done, 0 to 1."""
        if self.started is None:
            return 0.0
        elapsed = (now if self.ended is None else self.ended) - self.started
        return min(1.0, max(0.0, elapsed / self.duration)) if self.duration else 1.0

    def progress(self, now: float) -> float:
        if self.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            return 100
        return round(self.share(now) * 90, 1) if self.status is TaskStatus.RUNNING else 0

    def output(self, now: float) -> list[str]:
        if self.ended is not None or self.started is None:
            return list(self.lines)
        told = _STORY_BEGINS_WITH + int(self.share(now) * (len(_STORY) - _STORY_BEGINS_WITH))
        return [line.format(images=len(self.files)) for line in _STORY[:told]]

    def processing_time(self, now: float) -> int:
        """Milliseconds; -1 before the start and after a cancel."""
        if self.started is None or self.status is TaskStatus.CANCELED:
            return -1
        return round(((now if self.ended is None else self.ended) - self.started) * 1000)

    def info(self, now: float) -> dict[str, Json]:
        """The task's JSON (contract §2.2), without output."""
        status: dict[str, Json] = {"code": int(self.status)}
        if self.error is not None:
            status["errorMessage"] = self.error
        return {
            "uuid": self.id,
            "name": self.name,
            "dateCreated": round(self.created * 1000),
            "processingTime": self.processing_time(now),
            "status": status,
            "options": [{"name": option.name, "value": option.value} for option in self._final_options()],
            "imagesCount": len(self.images) if self.initialised else len(self.files),
            "progress": self.progress(now),
        }

    def state(self, now: float) -> dict[str, Json]:
        """What a test wants to know besides, for `/simulated/state`."""
        return {
            **self.info(now),
            "files": dict(self.files),
            "optionsReceived": self.fields.options,
            "webhook": self.fields.webhook,
            "outputs": self.fields.outputs,
            "skipPostProcessing": self.fields.skip_post_processing,
            "headers": dict(self.headers),
            "starts": self.starts,
        }

    def begin(self, now: float, duration: float, fails: bool) -> None:
        self.status, self.started, self.duration, self.fails = TaskStatus.RUNNING, now, duration, fails
        self.starts += 1

    def end(self, status: TaskStatus, now: float, error: str | None = None) -> None:
        """Freeze the output as it stands; what comes after it is the last word."""
        self.lines = self.output(now)
        if error is not None:
            self.lines.append(f"[ERROR]   {error}")
        elif status is TaskStatus.COMPLETED:
            self.lines.append("[INFO]    Done")
        self.status, self.ended, self.error = status, now, error

    def reset(self, now: float) -> None:
        """Back to before the start, as a restart does."""
        self.status = TaskStatus.QUEUED if self.initialised else TaskStatus.RUNNING
        self.created, self.started, self.ended, self.error, self.lines = now, None, None, None, []

    def saved(self) -> str:
        """As JSON text; `restored` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def restored(cls, text: str) -> Self:
        row = json.loads(text)
        row["fields"] = Fields(**row["fields"])
        row["options"] = tuple(OptionValue(**option) for option in row["options"])
        row["images"] = tuple(row["images"])
        row["status"] = TaskStatus(row["status"])
        return cls(**row)

    def _final_options(self) -> tuple[OptionValue, ...]:
        if self.fields.skip_post_processing:
            return self.options
        given = {option.name for option in self.options}
        return (*self.options, *(OptionValue(name, True) for name in ADDED_BY_NODE if name not in given))
