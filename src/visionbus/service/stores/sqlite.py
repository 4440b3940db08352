"""Keeps answers in a SQLite database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar, cast

from visionbus.messaging.drivers.sqlite.store import APPLICATION_ID as BUS
from visionbus.service.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from visionbus.service.wire import Answer

T = TypeVar("T")
COLUMNS = ("id", "label", "probability", "probabilities", "model", "version", "error", "published", "stored")
_TABLE = """
CREATE TABLE IF NOT EXISTS results (
    id TEXT PRIMARY KEY,    -- of the request
    label TEXT,             -- NULL where there is an error
    probability REAL,       -- of the label, 0 to 1
    probabilities TEXT,     -- JSON: [[label, probability], ...], the most probable first
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    error TEXT,             -- why there is no label
    published REAL NOT NULL, -- the request, seconds since the epoch
    stored REAL NOT NULL    -- this row, seconds since the epoch
) WITHOUT ROWID
"""
_INSERT = (
    f"INSERT INTO results ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (constants)
)
_BUSY = 1.0  # seconds that SQLite waits for another writer before it says so
_OPENING = 30.0  # likewise, when the database is opened


class SQLiteStore:
    """The table `results` in the file at `path`, made where it is missing; one connection, in a thread of its own.

    A commit is on the disk before it is reported (`synchronous=FULL`), so that not even a power cut loses what was
    acked. Readers may look at any time (WAL). Where the file is removed or replaced meanwhile, it is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, "store")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # that the connection writes to; None before the first opening

    async def __aenter__(self) -> Self:
        try:
            await self._call(self._open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._call(self._close)
        self._thread.shutdown()

    async def add(self, answers: Sequence[Answer]) -> int:
        """Keep the answers in one transaction."""
        return await self._call(lambda: self._add(answers))

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _open(self) -> None:
        try:
            connection = sqlite3.connect(self.path, timeout=_OPENING, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot keep results in {self.path} ({error}): name a SQLite file that can be written"
            ) from error
        self._connection = connection
        self._file = _identity(self.path)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table where it is missing; `StoreError` where the file is for something else."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application == BUS:
            raise StoreError(f"{self.path} holds a message bus: name another file for the results")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        found = [name for _, name, *_ in connection.execute("PRAGMA table_info(results)")]
        if sorted(found) != sorted(COLUMNS):
            raise StoreError(
                f"{self.path} has another table called results (columns {', '.join(found)}): name another file"
            )
        connection.execute(f"PRAGMA busy_timeout = {_BUSY * 1000:.0f}")

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _add(self, answers: Sequence[Answer]) -> int:
        now = time.time()
        connection = self._connected()
        try:
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            connection.executemany(_INSERT, [_row(answer, now) for answer in answers])
            new = connection.total_changes - before
            self._check_file()
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:  # locked, full, out of reach
            raise StoreUnavailableError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # its subclasses are about one row, or one statement
                raise StoreError(f"{self.path}: {error}: name another file, or mend this one") from error
            raise
        finally:
            if self._connection and connection.in_transaction:
                connection.rollback()
        return new

    def _connected(self) -> sqlite3.Connection:
        if self._file is None:
            raise StoreError("the store is not open: use `async with store`")
        if self._connection is None:  # the file went away, and could not be made anew
            try:
                self._open()
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
        return cast("sqlite3.Connection", self._connection)

    def _check_file(self) -> None:
        """Raise `StoreUnavailableError` where the path no longer leads to what is written: the next call opens it anew.

        SQLite goes on writing into a file that was removed or replaced, and says nothing.
        """
        if _identity(self.path) != self._file:
            self._close()  # which rolls back
            raise StoreUnavailableError(f"{self.path} was removed or replaced")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from every other; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _row(answer: Answer, now: float) -> tuple[object, ...]:
    probable = answer.probabilities
    return (
        answer.id,
        answer.label,
        probable[0][1] if probable else None,
        json.dumps(probable, ensure_ascii=False) if probable else None,
        answer.model,
        answer.version,
        answer.error,
        answer.published,
        max(now, answer.done),  # a clock that steps back does not show
    )
