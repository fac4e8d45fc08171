"""The embedded default: answers from memory, and keeps every change in one SQLite file before anybody sees it.

Changes are decided in turn on tables that run ahead of what readers see, and written by one thread. Those that come
while it writes wait, and go together in the next transaction. When it is done they are applied to what readers see
and answered; when it failed they are taken back. Nothing of this hangs on the callers' coroutines, so cancelling one
cannot part memory from disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.core.types import TaskId
from clusterodm_py.store.database import Database
from clusterodm_py.store.memory import KeptNodes, KeptNotes, KeptStrays, KeptTasks
from clusterodm_py.store.statements import Statement, keeping, touching
from clusterodm_py.store.tables import Change, Decision, Tables

logger = logging.getLogger(__name__)

T = TypeVar("T")

GROUP: Final = 200
"""Changes per transaction at most, which bounds how long deciding them holds the event loop."""

FLUSH_EVERY: Final = 60.0
"""Seconds between writes of when tasks were last accessed."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A verb that waits for its turn; `answer` is of the type that `decide` decides."""

    decide: Callable[[Tables], Decision[Any]]
    answer: asyncio.Future[Any]


@dataclass(slots=True)
class _Batch:
    """What is being written, and whom to answer then."""

    changes: list[Change] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    answers: list[tuple[asyncio.Future[Any], Any]] = field(default_factory=list)
    refusals: list[tuple[asyncio.Future[Any], Exception]] = field(default_factory=list)
    touched: set[TaskId] = field(default_factory=set)


class SqliteStore:
    """Opens `path`, making it and its folder if need be; a file can be open once at a time, in one process.

    `fsync` makes changes survive a power cut too, at the price of a disk flush each; without it they survive the
    death of the process. Opening raises StoreTrouble when the file is in use, newer than this program or out of reach;
    a damaged one is set aside and what can be read of it carried over (`store.salvage`).
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], fsync: bool = False) -> None:
        self.tables = Tables()
        self.nodes = KeptNodes(self)
        self.tasks = KeptTasks(self)
        self.strays = KeptStrays(self)
        self.notes = KeptNotes(self)
        self._database = Database(path, clock=clock, fsync=fsync)
        self._ahead = Tables()
        self._waiting: deque[_Waiting] = deque()
        self._writing = False
        self._touched: set[TaskId] = set()
        self._flushed = 0.0
        self._flush_due = False
        self._executor: ThreadPoolExecutor | None = None
        self._closed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            self.tables = await asyncio.get_running_loop().run_in_executor(executor, self._database.open)
        except BaseException:
            executor.submit(self._database.close)  # after `open`, should that be running still
            executor.shutdown(wait=False)
            raise
        self._ahead = self.tables.copy()
        self._executor, self._closed = executor, None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, then close."""
        self._closed = asyncio.get_running_loop().create_future()
        self._flush_due = True
        self._write_next()
        await self._closed

    async def change(self, decide: Callable[[Tables], Decision[T]]) -> T:
        """Part of `store.memory.Keeper`. A caller cancelled before its turn changes nothing; after that, all."""
        if self._executor is None or self._closed is not None:
            raise StoreTrouble("The cluster's database is closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(decide, answer))
        self._write_next()
        return await answer

    def touch(self, task: TaskId, now: float) -> None:
        """Part of `store.memory.Keeper`. Reaches the disk within a minute of use, and when the store closes."""
        if not self.tables.touch(task, now):
            return
        self._ahead.touch(task, now)
        self._touched.add(task)
        if not 0 <= now - self._flushed < FLUSH_EVERY:
            self._flushed = now
            self._flush_due = True
            self._write_next()

    def _write_next(self) -> None:
        """Set the writer to work on what waits, unless it is at work; then it comes back here."""
        while not self._writing and self._executor is not None:
            batch = self._next_batch()
            if batch.statements:
                self._begin(batch, self._executor)
            else:
                _answer(batch)
                if not self._waiting:
                    self._close_if_asked()
                    return

    def _next_batch(self) -> _Batch:
        batch = _Batch()
        while self._waiting and len(batch.statements) < GROUP:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                self._decide(waiting, batch)
        if self._flush_due:
            self._flush_due = False
            batch.touched, self._touched = self._touched, set()
            seen = (self._ahead.tasks[task] for task in batch.touched if task in self._ahead.tasks)
            batch.statements += [touching(task.id, task.accessed) for task in seen]
        return batch

    def _decide(self, waiting: _Waiting, batch: _Batch) -> None:
        try:
            decision = waiting.decide(self._ahead)
            if decision.change is not None:
                batch.statements.append(keeping(decision.change))
                batch.changes.append(decision.change)
                self._ahead.apply(decision.change)
        except Exception as refusal:  # whatever it is, it is the caller's
            batch.refusals.append((waiting.answer, refusal))
        else:
            batch.answers.append((waiting.answer, decision.answer))

    def _begin(self, batch: _Batch, executor: ThreadPoolExecutor) -> None:
        self._writing = True
        loop = asyncio.get_running_loop()
        written = loop.run_in_executor(executor, self._database.write, batch.statements)
        written.add_done_callback(lambda written: self._landed(batch, written.exception()))

    def _landed(self, batch: _Batch, error: BaseException | None) -> None:
        """The writer is done with `batch`: only now do readers see it."""
        self._writing = False
        if error is None:
            for change in batch.changes:
                self.tables.apply(change)
            _answer(batch)
        else:
            for change in batch.changes:
                self._ahead.restore(change, self.tables)
            self._touched |= batch.touched
            _fail(batch, error)
        self._write_next()

    def _close_if_asked(self) -> None:
        executor, closed = self._executor, self._closed
        if executor is None or closed is None:
            return
        self._executor = None
        done = asyncio.get_running_loop().run_in_executor(executor, self._database.close)
        done.add_done_callback(lambda done: _tell(closed, done.exception()))
        executor.shutdown(wait=False)


def _answer(batch: _Batch) -> None:
    for future, answer in batch.answers:
        if not future.done():
            future.set_result(answer)
    for future, refusal in batch.refusals:
        if not future.done():
            future.set_exception(refusal)


def _fail(batch: _Batch, error: BaseException) -> None:
    """Refusals fail too: they may rest on a change of the same batch, which was not made."""
    if not isinstance(error, StoreTrouble):
        logger.error("unexpected error while writing the database", exc_info=error)
    for future, _ in [*batch.answers, *batch.refusals]:
        if not future.done():
            future.set_exception(StoreTrouble(str(error)))


def _tell(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
