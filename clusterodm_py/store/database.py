"""One SQLite file of ours: opened, checked, read whole, written. Blocking, and for one thread only."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from clusterodm_py.core.errors import StoreTrouble
from clusterodm_py.store import codec, salvage
from clusterodm_py.store.salvage import Damaged
from clusterodm_py.store.statements import APPLICATION_ID, MIGRATIONS, TABLES, Statement
from clusterodm_py.store.tables import Change, Tables

logger = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
"""How long a write waits for somebody who looks at the file with the sqlite3 shell."""


class Database:
    """The file, from `open` to `close`; both may be called again."""

    def __init__(self, path: Path, *, clock: Callable[[], float], fsync: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._fsync = fsync
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None

    def open(self) -> Tables:
        """Everything the file holds; what is damaged is set aside first and what is readable carried over.

        Raises StoreTrouble when the file is in use, newer than this program, or out of reach.
        """
        with _explained(f"{self._path.name} cannot be opened"):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _locked(self._path)
            salvage.finish_interrupted(self._path, self._clock())
            try:
                return self._load()
            except Damaged as damage:
                reason = str(damage)
            self._disconnect()
            salvage.rescue(self._path, self._clock(), reason)
            return self._load()

    def write(self, statements: Sequence[Statement]) -> None:
        """All of them or none, durable on return. Raises StoreTrouble."""
        if self._connection is None:
            raise StoreTrouble("The cluster's database is closed")
        with _explained("The change could not be written to the cluster's database, and was not made"):
            _write(self._connection, statements)

    def close(self) -> None:
        """Let go of file and lock; silent when that was done."""
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _load(self) -> Tables:
        salvage.make_private(self._path)
        _inspect(self._path)
        self._connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
        migrate(self._connection, MIGRATIONS)
        with salvage.telling_damage():
            return Tables(_records(self._connection))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def migrate(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Bring the file to version `len(steps)`, each step a transaction: a crash leaves a version, never half of one."""
    for version in range(_pragma(connection, "user_version"), len(steps)):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {steps[version]} PRAGMA user_version = {version + 1}; COMMIT;"
            )
        except BaseException:
            _roll_back(connection)
            raise


def _inspect(path: Path) -> None:
    """Raises Damaged when the file must not be written to as it is, StoreTrouble when it is newer than we are.

    Read-only: what will be set aside stays as it was found.
    """
    with salvage.telling_damage(), closing(salvage.looking_at(path)) as connection:
        if _pragma(connection, "application_id") != APPLICATION_ID:
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
                raise Damaged("it is not a database of ours")
            return
        version = _pragma(connection, "user_version")
        if version > len(MIGRATIONS):
            raise StoreTrouble(
                f"{path.name} was written by a newer clusterodm (schema {version}, this one knows {len(MIGRATIONS)}):"
                " upgrade this one, or give it a data folder of its own"
            )
        complaint = connection.execute("PRAGMA quick_check(1)").fetchone()
        if complaint != ("ok",):
            raise Damaged(
                f"SQLite says: {str(complaint[0]).strip()}" if complaint else "it cannot be checked"
            )


def _records(connection: sqlite3.Connection) -> Iterator[Change]:
    """Every record, in order. Raises Damaged at the first row that is not one of ours."""
    for table in TABLES:
        for seq, *row in connection.execute(f"{table.read} ORDER BY seq"):
            try:
                yield codec.decode(table.decoder, row)
            except codec.Undecodable as error:
                raise Damaged(f"row {seq} of {table.name}: {error}") from None


def _write(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for sql, row in statements:
            connection.execute(sql, row)
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    """After some errors SQLite has rolled back by itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _locked(path: Path) -> int:
    """An open file whose lock the system drops when this process ends, however it ends.

    Raises StoreTrouble when another process has it.
    """
    file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(file)
        raise StoreTrouble(
            f"{path.name} is in use by another clusterodm (process {holder}): stop that one, or give this one a data"
            " folder of its own"
        ) from None
    except OSError:
        os.close(file)
        raise
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn errors of disk and database into StoreTrouble: the path goes to the log, the reason to the caller."""
    try:
        yield
    except (sqlite3.Error, OSError, Damaged) as error:
        logger.warning("%s: %s", what, error)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreTrouble(
            f"{what} ({reason}): check that its disk has room and may be written to"
        ) from error
