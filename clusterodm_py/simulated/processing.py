"""The life of tasks on a simulated node: initialised, queued, processed in slots, ended, cancelled, restarted.

Knows neither HTTP nor what a result looks like.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from clusterodm_py.core.errors import BadRequest, UnknownTask
from clusterodm_py.core.types import TaskStatus
from clusterodm_py.simulated.faults import Faults
from clusterodm_py.simulated.folders import Folders
from clusterodm_py.simulated.results import build_archive
from clusterodm_py.simulated.tasks import ENDED, SimulatedTask, filtered
from clusterodm_py.simulated.work import Work


class Processing:
    """All committed tasks. `ended` is awaited, in the background, with each task whose processing ended."""

    def __init__(
        self,
        *,
        faults: Faults,
        folders: Folders,
        work: Work,
        clock: Callable[[], float],
        ended: Callable[[SimulatedTask], Awaitable[None]],
    ) -> None:
        self.tasks: dict[str, SimulatedTask] = {}
        self._faults = faults
        self._folders = folders
        self._work = work
        self._clock = clock
        self._ended = ended
        self._initialising: dict[str, SimulatedTask] = {}
        self._queue: deque[str] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}

    def task(self, task_id: str) -> SimulatedTask:
        """Raises UnknownTask."""
        try:
            return self.tasks[task_id]
        except KeyError:
            raise UnknownTask(f"{task_id} not found") from None

    def busy(self) -> int:
        """What `/info` counts as the queue: tasks that initialise, wait or run."""
        return sum(task.status not in ENDED for task in self.tasks.values())

    def accept(self, task: SimulatedTask) -> None:
        self.tasks[task.id] = task
        self._prepare(task)

    def cancel(self, task_id: str) -> None:
        """Granted in any state; processing stops at once. Raises UnknownTask."""
        task = self.task(task_id)
        with suppress(ValueError):
            self._queue.remove(task_id)
        if task.status is not TaskStatus.CANCELED:
            task.end(TaskStatus.CANCELED, self._clock())
        if running := self._running.pop(task_id, None):
            running.cancel()
            self._tell(task)
        self._fill()

    async def remove(self, task_id: str) -> None:
        """Cancel, forget and delete the files. Raises UnknownTask."""
        self.cancel(task_id)
        del self.tasks[task_id]
        await asyncio.to_thread(self._folders.drop, task_id)

    async def restart(self, task_id: str, options: str | None) -> None:
        """Process once more, with other options when given. Raises UnknownTask, BadRequest."""
        task = self.task(task_id)
        if task.status not in ENDED:
            raise BadRequest("Task cannot be restarted")
        if options:
            task.options = filtered(options)
            task.fields = replace(task.fields, options=options)
        task.reset(self._clock())
        await asyncio.to_thread(self._folders.archive(task_id).unlink, missing_ok=True)
        self._resume(task)

    def forget(self) -> None:
        """Stop everything and know nothing of it, as after a crash. Files stay."""
        for running in self._running.values():
            running.cancel()
        self.tasks.clear()
        self._running.clear()
        self._queue.clear()

    def save(self) -> None:
        """Write all tasks down; blocks."""
        rows = [task.saved() for task in self.tasks.values()]
        self._folders.register.write_text(json.dumps(rows))

    def saved(self) -> list[SimulatedTask]:
        """The tasks written down by the node that had this folder before; blocks."""
        register = self._folders.register
        rows = json.loads(register.read_text()) if register.exists() else []
        return [SimulatedTask.restored(row) for row in rows]

    def resume(self, tasks: list[SimulatedTask]) -> None:
        """Go on with saved tasks: those that ran are queued again."""
        for task in tasks:
            self.tasks[task.id] = task
            if task.status not in ENDED:
                task.reset(task.created)
                self._resume(task)

    def _resume(self, task: SimulatedTask) -> None:
        if task.initialised:
            self._queue.append(task.id)
            self._fill()
        elif self._initialising.get(task.id) is not task:
            self._prepare(task)

    def _prepare(self, task: SimulatedTask) -> None:
        self._initialising[task.id] = task
        self._work.start(f"initialise {task.id}", self._initialise(task))

    async def _initialise(self, task: SimulatedTask) -> None:
        await asyncio.sleep(self._faults.behaviour.init_seconds)
        if self._is_gone(task):
            return  # or it would take what was uploaded under its id since
        task.images = await asyncio.to_thread(self._folders.move_in, task.id)
        task.initialised = True
        self._initialising.pop(task.id, None)
        limit = self._faults.behaviour.max_images
        if self._is_gone(task) or task.status is TaskStatus.CANCELED:
            return
        if limit and len(task.images) > limit:
            error = f"Too many images: {len(task.images)} were sent, this node takes {limit} at most."
            task.end(TaskStatus.FAILED, self._clock(), error)
            self._tell(task)
        else:
            task.status = TaskStatus.QUEUED
            self._queue.append(task.id)
            self._fill()

    def _fill(self) -> None:
        """Start what waits, in the order it came, while a slot is free."""
        while self._queue and len(self._running) < self._faults.behaviour.slots:
            task = self.tasks[self._queue.popleft()]
            seconds = self._faults.behaviour.processing_seconds(len(task.images))
            task.begin(self._clock(), seconds, self._faults.task_fails())
            self._running[task.id] = self._work.start(f"process {task.id}", self._process(task))

    async def _process(self, task: SimulatedTask) -> None:
        await asyncio.sleep(task.duration)
        if task.fails:
            task.end(TaskStatus.FAILED, self._clock(), "Cannot process dataset")
        else:
            await self._build(task)
            task.end(TaskStatus.COMPLETED, self._clock())
        del self._running[task.id]
        self._tell(task)
        self._fill()

    async def _build(self, task: SimulatedTask) -> None:
        now = self._clock()
        await asyncio.to_thread(
            build_archive,
            self._folders.archive(task.id),
            images=[self._folders.images(task.id) / name for name in task.images],
            info=task.info(now),
            output=task.output(now),
            size=self._faults.behaviour.result_size,
        )

    def _tell(self, task: SimulatedTask) -> None:
        self._work.start(f"webhooks of {task.id}", self._told(task))

    async def _told(self, task: SimulatedTask) -> None:
        await self._ended(task)

    def _is_gone(self, task: SimulatedTask) -> bool:
        return self.tasks.get(task.id) is not task
