"""Worker processes on one host: started, watched, started again when they die, drained at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, cast

from visionbus.service.backoff import Backoff
from visionbus.service.errors import StartError
from visionbus.service.health import Progress
from visionbus.service.process import Inheritance, Specification, arguments
from visionbus.service.record import Record
from visionbus.service.suspects import Suspects
from visionbus.service.watch import IN_PROCESS_BYTES, VERDICTS_BYTES, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TRIES = 3  # deaths in a row of workers of which none was ever ready


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Supervisor:
    """Keeps worker processes running, one per core by default.

    `report` is given one fact per call. `grace`: seconds that workers get to finish. `stuck`: seconds without progress
    after which a worker with work in process is killed and replaced. Requests that kill are found: see `Suspects`.
    """

    def __init__(
        self,
        specification: Specification,
        processes: int | None = None,
        *,
        report: Callable[[str], None] = lambda _: None,
        grace: float = 10.0,
        stuck: float = 300.0,
    ) -> None:
        self.ready = asyncio.Event()  # all workers have been
        self.suspects = Suspects()
        self.report = report
        self.specification = specification
        self.stuck = stuck
        self.verdicts = Record.create(VERDICTS_BYTES)
        self.stopping = asyncio.Event()
        self.starting = asyncio.Lock()  # one process at a time: signals are blocked meanwhile
        self._grace = grace
        self._workers = [_Slot(self, number) for number in range(1, (processes or cores()) + 1)]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep them running until `stop` is set; then drain them.

        Raises `StartError` where the first workers cannot start: their model is missing, or their bus.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.keep())
                await stop.wait()
                self.stopping.set()
                await self._drain()
        except* StartError as errors:
            raise errors.exceptions[0] from None
        finally:
            self.verdicts.close()

    async def _drain(self) -> None:
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        ended = asyncio.gather(*(worker.ended.wait() for worker in self._workers))
        try:
            async with asyncio.timeout(self._grace):
                await ended
        except TimeoutError:
            for worker in self._workers:
                worker.signal(signal.SIGKILL)

    def was_ready(self) -> None:
        """Note that one more worker is ready."""
        if all(worker.ready for worker in self._workers):
            self.ready.set()

    @property
    def any_ready(self) -> bool:
        """Whether any worker has ever been ready."""
        return any(worker.ready for worker in self._workers)

    def publish_verdicts(self) -> None:
        """Tell the workers what is suspected."""
        Verdicts(frozenset(self.suspects.suspects), frozenset(self.suspects.poison)).write(self.verdicts)


class _Slot:
    """One place for a worker, and the process that now has it."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        self.ready = False  # ever
        self.ended = asyncio.Event()  # for good
        self._supervisor = supervisor
        self._number = number
        self._process: asyncio.subprocess.Process | None = None
        self._error = ""  # that the process ended with, in its own words

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    async def keep(self) -> None:
        """Have a process running until the supervisor stops."""
        backoff = Backoff()
        stopping = self._supervisor.stopping
        deaths = 0
        while not stopping.is_set():
            record = Record.create(IN_PROCESS_BYTES)
            try:
                status = await self._run(record)
                if not stopping.is_set():
                    deaths += 1
                    self._check_start(status, deaths)
                    delay = backoff.after_death(healthy=record.written > 1)  # a batch was begun and ended
                    self._say(f"{self._cause(status)}; starting again in {delay:.1f} s")
                    self._accuse(record)
                    await _wait(stopping, delay)
            finally:
                record.close()
        self.ended.set()

    async def _run(self, record: Record) -> int:
        """Run one process to its end; return its exit status, negative for a signal."""
        self._error = ""
        self._process = process = await self._start(record)
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(process))
                watching = group.create_task(self._watch(record))
                status = await process.wait()
                await listening  # to its last words
                watching.cancel()
        finally:
            self.signal(signal.SIGKILL)
            await process.wait()
        return status

    async def _start(self, record: Record) -> asyncio.subprocess.Process:
        verdicts = self._supervisor.verdicts
        inheritance = Inheritance(record.descriptor, verdicts.descriptor, os.getpid())
        async with self._supervisor.starting:
            with _blocked(signal.SIGINT, signal.SIGTERM):  # as it inherits: until it can drain, it cannot be told to
                return await asyncio.create_subprocess_exec(
                    *arguments(self._supervisor.specification, inheritance),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    pass_fds=(record.descriptor, verdicts.descriptor),
                )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Take in what the process reports, until it ends."""
        async for line in cast("asyncio.StreamReader", process.stdout):  # a pipe was asked for
            event, _, text = line.decode(errors="replace").strip().partition(" ")
            if event == "ready":
                self.ready = True
                self._say(f"ready (process {process.pid})")
                self._supervisor.was_ready()
            elif event == "settled":
                self._supervisor.suspects.settled([text])
                self._supervisor.publish_verdicts()
            elif event == "error":
                self._error = text

    async def _watch(self, record: Record) -> None:
        """Kill the process when it is stuck; what it hangs on is suspected like what kills."""
        limit = self._supervisor.stuck
        progress = Progress(limit)
        now = asyncio.get_running_loop().time
        while not progress.observe(record.written, now(), busy=bool(record.read())):  # noqa: ASYNC110
            await asyncio.sleep(limit / 10)  # shared memory wakes nobody
        self._say(f"no progress for {limit:g} s: killed")
        self.signal(signal.SIGKILL)

    def _check_start(self, status: int, deaths: int) -> None:
        """End all where no worker was ever ready: what it says of its model or bus will not change by trying again."""
        if not self._supervisor.any_ready and (self._error or deaths >= _TRIES):
            raise StartError(self._error or f"worker {self._number} {self._cause(status)}, {deaths} times in a row")

    def _accuse(self, record: Record) -> None:
        alone, names = json.loads(record.read() or b"[false, []]")
        if names:
            suspects = self._supervisor.suspects
            suspects.died(names, alone=alone)
            self._supervisor.publish_verdicts()

    def _cause(self, status: int) -> str:
        if self._error:
            return f"failed: {self._error}"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _say(self, fact: str) -> None:
        self._supervisor.report(f"worker {self._number} {fact}")


@contextlib.contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
