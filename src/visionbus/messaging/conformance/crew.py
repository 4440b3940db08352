"""Processes that receive and send, and are killed and frozen: what the tests of deaths are made with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

from visionbus.messaging.conformance.trial import LEASE, WORKERS

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable
    from types import TracebackType

    from visionbus.messaging.conformance.trial import Trial

PROGRAM = str(Path(__file__).with_name("worker.py"))


class Worker:
    """One process: what it said, word by word, under the first word of each line."""

    def __init__(self, process: Process) -> None:
        self.said: defaultdict[str, list[list[str]]] = defaultdict(list)
        self.process = process
        self.ending = False  # killed, or asked to end
        self.struck = False  # killed or frozen: acks that it still held the broker may not have heard

    def data(self, word: str) -> set[bytes]:
        """Give the data of all lines that begin with a word."""
        return {words[0].encode() for words in self.said[word]}

    def freeze(self) -> None:
        self.struck = True
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def go_on(self) -> None:
        """Let a worker that holds its batch settle it."""
        if self.process.stdin:
            self.process.stdin.write(b"\n")

    def kill(self) -> None:
        self.ending = self.struck = True
        self.process.kill()

    def end(self) -> None:
        """Ask it to close and end."""
        self.ending = True
        if self.process.stdin:
            self.process.stdin.close()


class Crew:
    """Workers on one topic; used in `async with`, at whose end none is left."""

    def __init__(self, trial: Trial, topic: str) -> None:
        self.workers: list[Worker] = []
        self._trial = trial
        self._topic = topic
        self._group = asyncio.TaskGroup()
        self._spoken = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.living():
            worker.kill()
        await self._group.__aexit__(kind, error, trace)

    async def receiver(
        self, *, batch: int = 50, hold: bool = False, max_attempts: int = 1, max_in_flight: int = 1000
    ) -> Worker:
        """Start a receiver; it has joined when its line "joined" is there."""
        options = {
            "ack_deadline": LEASE,
            "batch": batch,
            "hold": hold,
            "max_attempts": max_attempts,
            "max_in_flight": max_in_flight,
        }
        return await self._start("receive", WORKERS, json.dumps(options))

    async def sender(self, prefix: str) -> Worker:
        return await self._start("send", prefix)

    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.process.returncode is None and not worker.ending]

    def data(self, word: str) -> set[bytes]:
        """Give what the workers said together, those that are dead by now too."""
        return set[bytes]().union(*(worker.data(word) for worker in self.workers))

    def unheard(self) -> set[bytes]:
        """Give what may come once more: a driver gathers acks for a moment, and those of the struck may be lost."""
        return set[bytes]().union(*(worker.data("acked") for worker in self.workers if worker.struck))

    def count(self, word: str) -> int:
        return sum(len(worker.said[word]) for worker in self.workers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds of what the workers have said."""
        while not condition():
            self._spoken.clear()
            await self._spoken.wait()

    async def all_acked(self, data: set[bytes]) -> None:
        """Wait until the workers have acked all of this together."""
        await self.until(lambda: self.data("acked") >= data)

    async def end(self) -> None:
        """Have all close and end."""
        for worker in self.living():
            worker.end()
        for worker in self.workers:
            await worker.process.wait()

    async def _start(self, verb: str, *arguments: str) -> Worker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", PROGRAM, verb, self._trial.url, self._topic, *arguments),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        worker = Worker(process)
        self.workers.append(worker)
        self._group.create_task(self._listen(worker))
        return worker

    async def _listen(self, worker: Worker) -> None:
        assert worker.process.stdout
        async for line in worker.process.stdout:
            word, *words = line.decode().split()
            worker.said[word].append(words)
            self._spoken.set()
        status = await worker.process.wait()
        assert worker.ending, f"a worker ended by itself with exit status {status}"
