"""The thread that owns the connection: jobs of the event loop, run in turns with other processes."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from visionbus.messaging.drivers.sqlite.store import Store
from visionbus.messaging.errors import AccessError, ClosedError, MessagingError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_JOBS = 64  # of one transaction
LONG_WAIT = 0.5  # seconds for one's turn: as long as that, others could not extend their leases either
PATIENCE = 1.0  # seconds that they get then before anybody's lease is taken over
BUSY_TIMEOUT = 5.0  # seconds that another program may hold the file
CLOSING_TIME = 5.0  # seconds

_DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@dataclass(slots=True)
class _Job:
    work: Callable[[Store], object]
    look: (
        Callable[[Store], object | None] | None
    )  # done first, outside of any transaction; what it returns is the result
    future: asyncio.Future[object]
    result: object = None
    error: Exception | None = None


class Writer:
    """Runs jobs on the store, one transaction for all that wait; when it fails, each alone: the culprit alone suffers.

    Processes take turns through a lock on a file beside the database: SQLite's own waiting starves one side. The thread
    is a daemon, because a process frozen in its turn would otherwise keep this one from ending.
    """

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self._ended = asyncio.Event()
        self._store: Store | None = None
        self._inode = 0  # of the database that is open
        self._process = os.getpid()
        self._lock = -1  # descriptor of the lock file
        self._patient_until = 0.0  # monotonic time

    async def run(self, work: Callable[[Store], T]) -> T:
        """Run a job in a transaction; raises what it does, SQLite's errors as the bus's."""
        return cast("T", await self.submit(work))

    def submit(
        self, work: Callable[[Store], object], look: Callable[[Store], object | None] | None = None
    ) -> asyncio.Future[object]:
        """Hand over a job; where `look`, done first and without a transaction, has a result, no work is done."""
        if self._closing:
            raise ClosedError("the bus is closed: connect again")
        if self._process != os.getpid():
            raise ClosedError("the bus was connected by the process that this one was forked from: connect here")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._serve, name=f"visionbus {self._path.name}", daemon=True).start()
        job = _Job(work, look, self._loop.create_future())
        self._jobs.put(job)
        return job.future

    async def close(self) -> None:
        """Do what was handed over, then end; after some seconds without its turn leave that to the thread."""
        self._closing = True
        if self._loop is None:
            return
        self._jobs.put(None)
        try:
            async with asyncio.timeout(CLOSING_TIME):
                await self._ended.wait()
        except TimeoutError:
            log.warning("%s is held by another process: closed without waiting for it any longer", self._path)

    def _serve(self) -> None:
        jobs: list[_Job | None] = []
        while None not in jobs:
            jobs = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(jobs) < MOST_JOBS:
                    jobs.append(self._jobs.get_nowait())
            if todo := [job for job in jobs if job]:
                self._run(todo)
        if self._store:
            self._store.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._tell(self._ended.set)

    def _run(self, jobs: list[_Job]) -> None:
        try:
            self._transact(jobs)
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to the job's caller)
            if len(jobs) > 1:
                for job in jobs:
                    self._run([job])
                return
            jobs[0].error = _translated(error, self._path)
        self._tell(lambda: _settle(jobs))

    def _transact(self, jobs: list[_Job]) -> None:
        if self._store is not None:
            self._check_file()
            jobs = [job for job in jobs if not _looked(job, self._store)]
        if not jobs:
            return
        asked = time.monotonic()
        try:
            with self._my_turn():
                self._work(jobs, asked)
        except (sqlite3.Error, OSError):
            self._be_patient()  # what fails here fails for others, who cannot extend their leases either
            raise
        if time.monotonic() - asked > LONG_WAIT:
            self._be_patient()  # frozen meanwhile, perhaps

    def _work(self, jobs: list[_Job], asked: float) -> None:
        if self._store is None:
            self._store = Store(self._path, synchronous=self._synchronous, busy_timeout=BUSY_TIMEOUT)
            self._inode = self._path.stat().st_ino
        with self._store.transaction():
            if time.monotonic() - asked > LONG_WAIT:
                self._be_patient()
            self._store.patient = time.monotonic() < self._patient_until
            for job in jobs:
                job.result = job.work(self._store)

    def _be_patient(self) -> None:
        self._patient_until = time.monotonic() + PATIENCE

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if self._lock < 0:
            self._lock = os.open(f"{self._path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _check_file(self) -> None:
        """Notice that the file is no longer the one that is open: what is written there, nobody would ever read."""
        try:
            there = self._path.stat().st_ino
        except FileNotFoundError:
            there = None
        if there != self._inode:
            raise NotFoundError(f"{self._path} was removed or replaced while in use: connect again, and declare")

    def _tell(self, what: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop was closed without closing the bus: nobody listens
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(what)


def _translated(error: Exception, path: Path) -> Exception:
    """Make the bus's error of one of SQLite's or the system's; others pass."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        made = _of_sqlite(code, f"{path} cannot be used: {error}")
    elif isinstance(error, OSError):
        denied = (
            isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError)) or error.errno == errno.EROFS
        )
        cure = "; see that the folder exists and may be written" if denied else "; try again later"
        made = (AccessError if denied else UnavailableError)(f"{path} cannot be used: {error.strerror}{cure}")
    else:
        return error
    made.__cause__ = error
    return made


def _of_sqlite(code: int, what: str) -> MessagingError | ValueError:
    if code == sqlite3.SQLITE_NOTADB:
        return ValueError(f"{what}; give the bus a file of its own")
    if code in _DENIED:
        return AccessError(f"{what}; check the rights of the file and its folder")
    if code in _BUSY:
        return UnavailableError(f"{what}; another program holds it, close that")
    if code == sqlite3.SQLITE_FULL:
        return UnavailableError(f"{what}; free some space")
    return UnavailableError(what)


def _looked(job: _Job, store: Store) -> bool:
    job.result = job.look(store) if job.look else None
    return job.result is not None


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
