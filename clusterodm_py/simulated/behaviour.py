"""How a simulated node behaves: one frozen value, changeable as a whole at run time. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import Json

FAILURE_FORMS: Final = ("500", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Every switch. Times are seconds; a fault of 0 never happens.

    A share, of `fail_tasks` and `fail_uploads`, is below 1; from 1 on it is a count.
    """

    slots: int = 2
    """Tasks processed at the same time."""
    max_images: int | None = None
    """A task with more files fails when it is initialised."""
    token: str = field(default="", repr=False)
    version: str = "2.2.4"
    engine: str = "odm"
    engine_version: str = "3.5.6"
    webhook: str = ""
    """Told of the end of every task."""
    webhook_pause: float = 5.0
    """Retries of a webhook wait 0, 1, 2... times as long."""
    work_dir: Path | None = None
    """Where files are kept; a folder that vanishes with the node when not given."""

    seconds: float = 10.0
    """Processing time of a task..."""
    seconds_per_image: float = 0.0
    """...and what every image adds to it."""
    speed: float = 1.0
    """Divides the processing time."""
    init_seconds: float = 0.0
    """How long a committed task shows 20 before it is queued."""
    result_size: int = 0
    """Pad all.zip up to this many bytes (a hole on the disk, real bytes on the wire)."""

    seed: int = 0
    """What the chances of shares are drawn from: the same seed draws the same."""
    fail_tasks: float = 0.0
    """Share of the tasks that end as failed, or every n-th."""
    fail_uploads: float = 0.0
    """Share of the uploads that fail, or the first n."""
    fail_uploads_with: str = "500"
    """`500`, or `error`: HTTP 200 with an error in the JSON."""
    cut_uploads: int = 0
    """Break the connection in the middle of the first n uploads."""
    stall_uploads: float = 0.0
    """Leave an upload unread in its middle for so long; `inf` is for ever."""
    lose_commit_replies: int = 0
    """Take the first n commits and break the connection before the reply."""
    hang_info: bool = False
    """Never answer `/info`."""
    offline_after: float = 0.0
    """Stop listening so long after the start."""
    forget_tasks: bool = False
    """Know no task after a restart, as a NodeODM that crashed."""

    def __post_init__(self) -> None:
        """Raises BadRequest at what could never work."""
        if self.slots < 1 or not self.speed > 0:
            raise BadRequest("A node needs at least one slot and a speed above 0.")
        if self.fail_uploads_with not in FAILURE_FORMS:
            raise BadRequest(f"Uploads fail with one of: {', '.join(FAILURE_FORMS)}.")

    def processing_seconds(self, images: int) -> float:
        return (self.seconds + self.seconds_per_image * images) / self.speed


_FIXED: Final = frozenset({"work_dir", "token", "offline_after"})
"""What a running node cannot change any more."""


def changed(behaviour: Behaviour, wishes: Json) -> Behaviour:
    """`behaviour` with the fields named in `wishes`. Raises BadRequest at a name or a type that does not fit."""
    if not isinstance(wishes, dict):
        raise BadRequest('Send a JSON object of switches, such as {"hang_info": true}.')
    known = {switch.name for switch in fields(behaviour)} - _FIXED
    fitting: dict[str, Any] = {}
    for name, value in wishes.items():
        if name not in known:
            raise BadRequest(f"No switch '{name}'. There are: {', '.join(sorted(known))}.")
        if not _fits(getattr(behaviour, name), value):
            raise BadRequest(f"The value of '{name}' does not fit.")
        fitting[name] = value
    return replace(behaviour, **fitting)


def _fits(current: object, value: Json) -> bool:
    match current:
        case bool():
            return isinstance(value, bool)
        case str():
            return isinstance(value, str)
        case None:
            return value is None or (isinstance(value, int) and not isinstance(value, bool))
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
