"""The parent of a split, as ODM's client runs it (contract §11.2), which is where a cluster wins or loses its time.

It works through its stages on one slot. Of the submodels of a stage it does one after the other itself, and uploads
the rest one after the other as tasks of the cluster. When one of these is told to be queued on its node, ODM takes
it back, does it again later, and never again has more on the cluster than are running at that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from clusterodm_py.simulation.clock import Clock
from clusterodm_py.simulation.model import Alone, Job, Spread

_LOOKS: Final = 5.0
"""Seconds between two looks at a submodel."""


class Parent:
    """One task that spreads itself over the cluster."""

    def __init__(
        self,
        job: Job,
        speed: float,
        clock: Clock,
        *,
        submit: Callable[[Job, Parent], None],
        worked: Callable[[float], None],
        done: Callable[[], None],
    ) -> None:
        self._stages = deque(job.stages)
        self._speed = speed
        self._clock = clock
        self._submit = submit
        self._worked = worked
        self._done = done
        self._todo: deque[Job] = deque()
        self._left = 0
        """Submodels of the stage that are not done."""
        self._working = False
        self._uploading = False
        self._running = 0
        self._away = 0
        """On the cluster, or on their way there."""
        self._most: int | None = None
        """What the client takes the cluster to be able to run; it never learns better."""

    def next_stage(self) -> None:
        if not self._stages:
            self._done()
            return
        match self._stages.popleft():
            case Alone(work=work):
                self._work(work, self._stage_done)
            case Spread(submodels=submodels):
                self._todo.extend(submodels)
                self._left = len(submodels)
                self._go_on()

    def committed(self) -> None:
        """The submodel under way has arrived at the proxy: the upload of the next can begin."""
        self._uploading = False
        self._go_on()

    def started(self) -> None:
        """A submodel runs on a node."""
        self._running += 1

    def finished(self) -> None:
        """A submodel is done on a node."""
        self._running -= 1
        self._away -= 1
        self._one_less()

    def refused(self, job: Job) -> None:
        """A submodel was told to be queued on its node, which its client sees when it looks the next time."""
        self._clock.after(_LOOKS, self._take_back, job)

    def _take_back(self, job: Job) -> None:
        self._away -= 1
        self._most = self._most or max(1, self._running)
        self._todo.append(job)
        self._go_on()

    def _go_on(self) -> None:
        if self._todo and not self._working:
            self._working = True
            self._work(self._todo.popleft().work, self._own_done)
        if self._todo and not self._uploading and (self._most is None or self._away < self._most):
            self._uploading = True
            self._away += 1
            self._submit(self._todo.popleft(), self)

    def _work(self, work: float, done: Callable[[None], None]) -> None:
        seconds = work / self._speed
        self._worked(seconds)
        self._clock.after(seconds, done, None)

    def _own_done(self, _: None) -> None:
        self._working = False
        self._one_less()

    def _one_less(self) -> None:
        self._left -= 1
        if self._left:
            self._go_on()
        else:
            self.next_stage()

    def _stage_done(self, _: None) -> None:
        self.next_stage()
