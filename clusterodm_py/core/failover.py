"""What becomes of a task in trouble: its node is silent, forgot it, or failed it. Decides on facts; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from clusterodm_py.core.types import Task

_AWAY: Final = "The processing node went away; the task starts again on another one."

_LOST: Final = "The processing node lost this task when it was restarted; the task starts again."

_FAILED: Final = "The processing node could not process this submodel{why}; it starts again on another one."

_REMOVED: Final = "The processing node no longer knows this task: it was removed there."

_LOST_FOR_GOOD: Final = (
    "The processing node lost this task when it was restarted, and its images are no longer kept here."
)

_GIVEN_UP: Final = (
    "The processing node has been away for {hours:g} hours. The images of this task are no longer kept here, so it"
    " cannot start again on another one."
)

_BANE: Final = (
    "Every processing node that ran this task went down and lost it. Look at its options and images."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverPolicy:
    """When tasks are given to another node, and how often. Times are seconds."""

    after: float = 120.0
    """Of silence, before another node gets the task."""
    moves: int = 3
    """A task taken so often from nodes that were gone may be what brings them down."""
    retries: int = 0
    """How often a submodel of a split is run again after the engine itself had failed it."""
    give_up: float = 86_400.0
    """Of silence, before a task that can start nowhere else is called failed."""

    def patience(self, silence: Silence) -> float:
        """Seconds of it to bear; fewer where the node's machine is there, and says that the node is not."""
        return self.after / 4 if silence.refused else self.after


@dataclass(frozen=True, slots=True)
class Silence:
    """The node is down."""

    seconds: float
    """Since it was last heard of."""
    refused: bool = False
    """Its machine answers that nothing listens there."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The node answers, and certainly does not know the task."""

    away: bool
    """It may have been down since it got the task."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave the task where it is."""


@dataclass(frozen=True, slots=True)
class Move:
    """Queue the task for another node; `reason` goes on in its output."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The task has failed; `text` is its error."""

    text: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the task: we never knew more than that this node should have it (contract §12 D-41)."""


Trouble: TypeAlias = Silence | Forgotten
Verdict: TypeAlias = Wait | Move | Fail | Drop


def decide(task: Task, trouble: Trouble, policy: FailoverPolicy, *, images: bool, elsewhere: bool) -> Verdict:
    """What to do about a task ON_NODE.

    `images`: its upload is here. `elsewhere`: another node could take it now, without which waiting costs nothing.
    """
    recoverable, spent = images and task.recoverable, task.moves >= policy.moves
    match trouble:
        case Silence():
            due = elsewhere and trouble.seconds > policy.patience(trouble)
            return _silent(task, trouble, policy, recoverable=recoverable, spent=spent, due=due)
        case Forgotten(away=away):
            if task.committed is None and task.report is None:
                return Drop()
            if not away:
                return Fail(_REMOVED)
            if spent:
                return Fail(_BANE)
            return Move(_LOST) if recoverable else Fail(_LOST_FOR_GOOD)


def retry(
    task: Task, error: str | None, policy: FailoverPolicy, *, images: bool, elsewhere: bool
) -> Move | None:
    """Whether a task that its node's engine failed with `error` runs once more; None: then it has failed.

    Only submodels do: one that fails ends the whole job of its client (contract §11.2, demand e1).
    """
    if not (task.child and task.retries < policy.retries):
        return None
    if not (images and task.recoverable and elsewhere):
        return None
    return Move(_FAILED.format(why=f" ({error})" if error else ""))


def _silent(
    task: Task, silence: Silence, policy: FailoverPolicy, *, recoverable: bool, spent: bool, due: bool
) -> Verdict:
    if task.committed is None:  # imported: never in our hands
        return Wait()
    if recoverable and not spent:
        return Move(_AWAY) if due else Wait()
    if silence.seconds <= policy.give_up:
        return Wait()
    return Fail(_BANE if recoverable else _GIVEN_UP.format(hours=policy.give_up / 3600))
