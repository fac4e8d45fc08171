"""What to do with a damaged database: set it aside untouched, and carry every readable row into a fresh one.

Killed at any point, the next start finds either the damaged file or the finished rescue.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from clusterodm_py.store import codec
from clusterodm_py.store.statements import MIGRATIONS, TABLES, Table, keeping
from clusterodm_py.store.tables import Change, Tables

logger = logging.getLogger(__name__)

_Row: TypeAlias = tuple[int, tuple[object, ...]]

_REACH: Final = 100_000
"""Numbers tried one by one, from either side, between the last rows reached from the front and from the back."""

_BLIND_REACH: Final = 10_000
"""The same where nothing was reached from the back, so that there may be no more rows at all."""

_OUT_OF_REACH: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Primary result codes that blame the surroundings: the file may be sound, so it stays where it is."""


class Damaged(Exception):
    """The file is not a sound database of ours; the text says why."""


@dataclass(slots=True)
class _Haul:
    """What was read from a damaged file."""

    changes: list[Change] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    undecodable: int = 0


def looking_at(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing in the file, nor moves its journal into it.

    But the journal of a creation that was killed must be rolled back before anything can be read.
    """
    mode = "rw" if _beside(path, "-journal").exists() else "ro"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5.0, isolation_level=None
    )


@contextmanager
def telling_damage() -> Iterator[None]:
    """Raise Damaged in place of SQLite errors that blame the file."""
    try:
        yield
    except sqlite3.Error as error:
        if _blames_the_file(error):
            raise Damaged(str(error)) from error
        raise


def make_private(path: Path) -> None:
    """Create the file if need be, for its owner's eyes only; SQLite gives its journal the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with suppress(PermissionError):  # somebody else's file that we may write to
        path.chmod(0o600)


def finish_interrupted(path: Path, now: float) -> None:
    """Complete a rescue that was killed while moving files, and set aside a journal whose database is gone.

    SQLite would delete such a journal; and next to a fresh database it would be taken for that one's.
    """
    if not path.exists() or path.stat().st_size == 0:
        if _size(_beside(path, "-wal")):
            kept = _set_aside(path, now)
            logger.warning("database %s was gone, but not its journal: kept as %s-wal", path, kept)
        if _fresh(path).exists():
            _fresh(path).replace(path)
            logger.warning("database %s: finished a rescue that had been interrupted", path)


def rescue(path: Path, now: float, reason: str) -> None:
    """Put a fresh database with every readable row in the place of a damaged one, which is kept beside it."""
    haul = _read_all(path)
    _build(_fresh(path), haul.changes)
    kept = _set_aside(path, now)
    _fresh(path).replace(path)
    logger.warning(
        "database %s was damaged (%s): it is kept as %s, and what could be read was carried over: %d nodes, %d tasks,"
        " %d strays, %d notes; %d rows were found but made no sense",
        *(path, reason, kept),
        *(haul.found[table.name] for table in TABLES),
        haul.undecodable,
    )


def _blames_the_file(error: sqlite3.Error) -> bool:
    code = _code(error)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _OUT_OF_REACH


def _code(error: sqlite3.Error) -> int:
    """What the Python module itself raises, such as for text that is not UTF-8, has no code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT))


def _read_all(path: Path) -> _Haul:
    haul = _Haul()
    with suppress(Damaged), telling_damage(), closing(looking_at(path)) as connection:
        # Without this SQLite reads nothing at all from a file that was cut short.
        connection.execute("PRAGMA writable_schema = ON")
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        for table in TABLES:
            if table.name in there:
                _read_table(connection, table, haul)
    return haul


def _read_table(connection: sqlite3.Connection, table: Table, haul: _Haul) -> None:
    for _seq, row in _readable(connection, table):
        try:
            haul.changes.append(codec.decode(table.decoder, row))
            haul.found[table.name] += 1
        except codec.Undecodable:
            haul.undecodable += 1


def _readable(connection: sqlite3.Connection, table: Table) -> list[_Row]:
    """Every row SQLite can reach, in order: from the front, from the back, and in between one by one."""
    front, error = _scan(connection, f"{table.read} ORDER BY seq")
    if error is None or _code(error) == sqlite3.SQLITE_ERROR:  # all of it, or not our columns
        return front
    back, _ = _scan(connection, f"{table.read} ORDER BY seq DESC")
    low = front[-1][0] if front else 0
    high = back[-1][0] if back else low + _BLIND_REACH
    middle: list[_Row] = []
    for seq in {*range(low + 1, min(high, low + _REACH)), *range(max(low + 1, high - _REACH), high)}:
        rows, _ = _scan(connection, f"{table.read} WHERE seq = {seq}")
        middle += rows
    return sorted(dict(front + middle + back).items())


def _scan(connection: sqlite3.Connection, query: str) -> tuple[list[_Row], sqlite3.Error | None]:
    """The rows before the first error, and that error."""
    rows: list[_Row] = []
    try:
        for seq, *row in connection.execute(query):
            rows.append((int(seq), tuple(row)))  # a comprehension would lose what came first
    except sqlite3.Error as error:
        if not _blames_the_file(error):
            raise
        return rows, error
    return rows, None


def _build(path: Path, changes: list[Change]) -> None:
    """A whole database in one file, without a journal beside it."""
    draft = _beside(path, ".draft")
    for leftover in (draft, _beside(draft, "-journal")):
        leftover.unlink(missing_ok=True)
    make_private(draft)
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.executescript(
            "BEGIN;" + "\n".join(MIGRATIONS) + f"PRAGMA user_version = {len(MIGRATIONS)};"
        )
        # Through tables, so that a record read twice is written once.
        for change in Tables(changes).changes():
            connection.execute(*keeping(change))
        connection.execute("COMMIT")
    draft.replace(path)


def _set_aside(path: Path, now: float) -> Path:
    """Rename database and journal to a name that is free, and still belongs together for SQLite."""
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    kept = _beside(path, f".damaged-{stamp}")
    turn = 1
    while any(_beside(kept, suffix).exists() for suffix in ("", "-wal", "-shm")):
        turn += 1
        kept = _beside(path, f".damaged-{stamp}-{turn}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(kept, suffix))
    return kept


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _fresh(path: Path) -> Path:
    """Where a rescue waits, whole, while the damaged file is moved out of its place."""
    return _beside(path, ".salvaged")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
