"""The output of tasks on disk, so that it outlives their nodes: `<root>/<task>.log`, one line per line.

Knows nothing of tasks but their ids; which line is which is the caller's business (`engine.transcript`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, TypeVar
from urllib.parse import quote, unquote
from weakref import WeakValueDictionary

from clusterodm_py.core.types import TaskId

P = ParamSpec("P")
T = TypeVar("T")

MOST_BYTES: Final = 50 * 1024 * 1024
"""Of one task. A line that does not fit is kept as an empty one, so that numbers stay right."""

_STRIDE: Final = 1024
"""Lines between two places in a file that are remembered."""

_SUFFIX: Final = ".log"

_ESCAPED: Final = re.compile(r"\\([\\n])")


@dataclass(frozen=True, slots=True)
class _Book:
    """What is known of a file without reading it."""

    lines: int = 0
    size: int = 0
    """Bytes of whole lines; what lies behind was never finished."""
    marks: tuple[int, ...] = ()
    """Where each `_STRIDE`-th line begins."""


class Logbook:
    """Appends and reads; each call is one piece of work in a thread. Lines are numbered from 0.

    What was appended survives the death of this process. Every verb raises OSError when the disk does.
    """

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._most = most_bytes
        self._books: dict[TaskId, _Book] = {}
        self._locks: WeakValueDictionary[TaskId, asyncio.Lock] = WeakValueDictionary()

    async def length(self, task: TaskId) -> int:
        """How many lines are kept."""
        return (await self._known(task)).lines

    async def append(self, task: TaskId, first: int, lines: Sequence[str]) -> None:
        """Keep `lines`, of which the first has number `first`; those that are kept already stay as they are.

        Lines before `first` that were lost are empty from then on. Where it fails, nothing was kept.
        """
        async with self._lock(task):
            book = await self._opened(task)
            new = [""] * (first - book.lines) + list(lines[max(0, book.lines - first) :])
            if new:
                self._books[task] = await _in_thread(_write, self._path(task), book, new, self._most)

    async def read(self, task: TaskId, first: int, last: int) -> list[str]:
        """The lines with numbers from `first` to before `last`; those that were lost are empty."""
        book = await self._known(task)
        wanted, kept = max(0, last - first), max(0, min(last, book.lines) - first)
        found = await _in_thread(_read, self._path(task), book, first, kept) if kept else []
        return found + [""] * (wanted - len(found))

    async def discard(self, task: TaskId) -> None:
        """Forget the output of `task`; silent when there is none."""
        async with self._lock(task):
            self._books.pop(task, None)
            await _in_thread(_delete, self._path(task))

    async def sweep(self, keep: Collection[TaskId]) -> None:
        """Forget the output of every task that is not in `keep`."""
        for task in await _in_thread(_found, self._root):
            if task not in keep:
                await self.discard(task)

    async def _known(self, task: TaskId) -> _Book:
        if (book := self._books.get(task)) is not None:
            return book
        async with self._lock(task):
            return await self._opened(task)

    async def _opened(self, task: TaskId) -> _Book:
        book = self._books.get(task)
        if book is None:
            book = self._books[task] = await _in_thread(_load, self._path(task))
        return book

    def _lock(self, task: TaskId) -> asyncio.Lock:
        return self._locks.setdefault(task, asyncio.Lock())

    def _path(self, task: TaskId) -> Path:
        """Quoted, since ids imported from elsewhere may be anything."""
        return self._root / f"{quote(task, safe='')}{_SUFFIX}"


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work. It ends before this does, also when the caller is cancelled: nobody may write meanwhile."""
    job = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(job)
    finally:
        while not job.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([job])


def encode(line: str) -> bytes:
    """The line as bytes without a newline; `decode` gives it back, whatever it holds."""
    return line.replace("\\", "\\\\").replace("\n", "\\n").encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # harmed on the disk
        text = data.decode("utf-8", "replace")
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else "\\", text) if "\\" in text else text


def _load(path: Path) -> _Book:
    """Count whole lines. A last one that was torn is not among them, and is written over by the next append."""
    try:
        with path.open("rb") as file:
            return _longer(_Book(), (len(line) for line in file if line.endswith(b"\n")))
    except FileNotFoundError:
        return _Book()


def _write(path: Path, book: _Book, lines: Sequence[str], most: int) -> _Book:
    room, data = most - book.size, list[bytes]()
    for line in lines:
        encoded = encode(line) + b"\n"
        data.append(encoded if len(encoded) <= room else b"\n")
        room -= len(data[-1])
    with _writable(path) as file:
        file.truncate(book.size)
        file.seek(book.size)
        file.write(b"".join(data))
    return _longer(book, map(len, data))


def _writable(path: Path) -> BinaryIO:
    try:
        return path.open("r+b")
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("wb")


def _read(path: Path, book: _Book, first: int, count: int) -> list[str]:
    begin, skipped = book.marks[first // _STRIDE], first % _STRIDE
    until = (first + count + _STRIDE - 1) // _STRIDE
    end = book.marks[until] if until < len(book.marks) else book.size
    try:
        with path.open("rb") as file:
            file.seek(begin)
            lines = file.read(end - begin).split(b"\n")
    except FileNotFoundError:  # discarded, by us or by an operator
        return []
    return [decode(line) for line in lines[skipped : skipped + count]]


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _longer(book: _Book, sizes: Iterable[int]) -> _Book:
    """The file with so many bytes more in each of its new lines."""
    lines, size, marks = book.lines, book.size, list(book.marks)
    for added in sizes:
        if lines % _STRIDE == 0:
            marks.append(size)
        lines += 1
        size += added
    return _Book(lines, size, tuple(marks))


def _found(root: Path) -> list[TaskId]:
    return [TaskId(unquote(path.name.removesuffix(_SUFFIX))) for path in root.glob(f"*{_SUFFIX}")]
