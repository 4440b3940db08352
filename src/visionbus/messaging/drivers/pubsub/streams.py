"""Streams: the streaming pulls of one receiver, as many as its backlog wants."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from visionbus.messaging.drivers.pubsub.errors import translated
from visionbus.messaging.drivers.pubsub.stream import Pull, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.errors import MessagingError

EACH = 100  # messages outstanding at least, on a stream
WINDOW = 0.1  # seconds in which streams are counted as busy, or not
BUSY = 80  # messages of a stream in that time


class Streams:
    """One stream at first; twice as many whenever all are busy, up to a number."""

    def __init__(self, connection: Connection, pull: Pull, most: int, failed: Callable[[MessagingError], None]) -> None:
        """`failed` is told what ends the receiver."""
        self._connection = connection
        self._pull = pull
        self._most = most
        self._failed = failed
        self._running: dict[asyncio.Task[None], Stream] = {}
        self._window_ends = 0.0
        self._count = 0

    def __len__(self) -> int:
        return len(self._running)

    def start(self) -> None:
        """Open one more."""
        stream = Stream(self._connection, self._pull)
        task = asyncio.create_task(stream.run())
        self._running[task] = stream
        task.add_done_callback(self._ended)

    def count(self, messages: int, now: float) -> None:
        """Count what came, and open more streams if that is much."""
        self._count += messages
        if now < self._window_ends:
            return
        busy = self._count >= BUSY * len(self._running)
        if busy and now < self._window_ends + WINDOW:
            for _ in range(min(len(self._running), self._most - len(self._running))):
                self.start()
        self._window_ends = now + WINDOW
        self._count = 0

    def hungry(self, held: int) -> None:
        """Open one more if whoever receives waits although the broker may send no more on those that are open."""
        if self._running and len(self._running) < self._most and held >= 0.9 * self._pull.most * len(self._running):
            self.start()

    async def keep_alive(self) -> None:
        """Do what streams need now and then."""
        now = time.monotonic()
        await asyncio.gather(*(stream.keep_alive(now) for stream in self._running.values()))

    async def finish(self, timeout: float) -> None:
        """End all, for now; what does not end in time is cancelled."""
        running = dict(self._running)  # each is removed when it has ended, so that a cancelled call can be repeated
        if not running:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(stream.finish() for stream in running.values()))
        _, late = await asyncio.wait(running, timeout=timeout)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            self._failed(translated(error, "receiving"))
