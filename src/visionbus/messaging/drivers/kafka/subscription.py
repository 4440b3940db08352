"""One receiver of a Kafka group, as the event loop sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from visionbus.messaging.driver import DriverSubscription, Patience
from visionbus.messaging.drivers.kafka.consumer import ConsumerThread
from visionbus.messaging.drivers.kafka.errors import check_process
from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.threads import in_thread
from visionbus.messaging.errors import MessagingError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable

    from visionbus.messaging.message import Delivery

log = logging.getLogger(__name__)

GIVEN_BACK = 0.5  # seconds after which other receivers get what was released, if nobody here asks for it
LOOK = 10.0  # seconds between two looks whether the topic is still the same
LOOK_AGAIN = 1.0  # seconds after one that failed
JOIN = 1.0  # seconds that entering waits for partitions
CLOSE = 10.0  # seconds that closing waits for the brokers


class KafkaSubscription(DriverSubscription):
    """Hands out what its thread has read, and notes what is settled, which the thread commits."""

    def __init__(
        self,
        configuration: dict[str, Any],
        topic: str,
        *,
        ack_deadline: float,
        prefetch: int,
        prefetch_bytes: int,
        lost: Callable[[Collection[Hashable]], None],
        is_there: Callable[[], Awaitable[bool]],
    ) -> None:
        """Join; `is_there` tells whether the topic is still there, and no other of its name."""
        self.ack_deadline = ack_deadline
        self._topic = topic
        self._is_there = is_there
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()  # there may be something to hand out
        self._joined = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self._patience = Patience(ack_deadline, time.monotonic())
        self._limits = (prefetch, prefetch_bytes)
        self._new_thread = partial(
            ConsumerThread,
            configuration,
            topic,
            arrived=lambda: self._call(self._changed.set),
            lost=lambda leases: self._call(lost, leases),
            joined=lambda: self._call(self._joined.set),
        )
        self._begin()
        self._alive()
        self._doubt = self._loop.call_later(LOOK, self._look_now_and_then)

    def _begin(self) -> None:
        """Have a thread receive, which is not held up by one that was there before and got stuck."""
        self._holding = Holding(*self._limits)
        self._thread = self._new_thread(self._holding)
        self._thread.alive_until = time.monotonic() + self.ack_deadline
        self._thread.wanted_until = self._patience.until
        self._thread.start()

    async def joined(self) -> None:
        """Wait until the group has assigned partitions, but not for long: with many receivers it may have none left.

        Raises what keeps this receiver from receiving.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN):
                await self._joined.wait()
        self._check()

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Have something done on the loop; from the thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _alive(self) -> None:
        """Tell the thread, again and again, that the loop turns."""
        self._thread.alive_until = time.monotonic() + self.ack_deadline
        self._beat = self._loop.call_later(self.ack_deadline / 3, self._alive)

    def _look_now_and_then(self) -> None:
        """Have it looked whether the topic is another by now: librdkafka would go on in that at the old offsets."""
        self._thread.doubts_topic = True
        self._changed.set()
        self._doubt = self._loop.call_later(LOOK, self._look_now_and_then)

    async def fetch(self, room: int, timeout: float | None) -> list[Delivery]:
        check_process(self._process)
        await asyncio.sleep(0)  # where messages never run out, the loop still turns
        self._patience.asked(too_late=self._thread.away)
        self._thread.wanted_until = self._patience.until
        cancelled = True
        try:
            taken = await self._fetch(room, float("inf") if timeout is None else time.monotonic() + timeout)
            cancelled = False
        finally:
            self._patience.answered(time.monotonic(), cancelled=cancelled)
            self._thread.wanted_until = self._patience.until
        return taken

    async def _fetch(self, room: int, ends: float) -> list[Delivery]:
        while not self._closed:
            self._changed.clear()
            if taken := self._holding.take(room):
                return taken
            self._check()
            now = time.monotonic()
            if now >= ends:
                break
            wait = min(ends, self._holding.next_due()) - now
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else max(wait, 0.001)):
                    await self._changed.wait()
        return []

    def _check(self) -> None:
        """Raise what keeps this receiver from receiving; a doubt about its topic is looked into beside."""
        if self._thread.has_ended and not self._thread.failure:
            self._begin()
        if self._thread.failure:
            raise self._thread.failure.with_traceback(None)  # of which each raising adds to it
        if self._thread.doubts_topic and self._looking is None:
            self._thread.doubts_topic = False
            self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        """Find out whether the topic is still there, however long it takes until a broker answers."""
        try:
            while not await self._looked():  # noqa: ASYNC110 (nobody tells when brokers answer again)
                await asyncio.sleep(LOOK_AGAIN)
        except Exception as error:  # noqa: BLE001 (whatever it is: nobody else would hear of it)
            self._thread.failure = MessagingError(f"looking whether {self._topic!r} is still there failed: {error!r}")
            self._thread.failure.__cause__ = error
        finally:
            self._looking = None
            self._changed.set()

    async def _looked(self) -> bool:
        """Look whether the topic is still there; return whether that is known now."""
        try:
            if not await self._is_there():
                self._thread.abandon(
                    NotFoundError(
                        f"topic {self._topic!r} was deleted under its receiver: declare it and subscribe again; "
                        "what was sent meanwhile to a new one of that name may have been passed over"
                    )
                )
        except MessagingError as error:
            log.info("cannot look whether %s is still there: %s", self._topic, error)
            self._thread.liveness.brokers_answer(others=False)
            return False
        self._thread.liveness.brokers_answer(others=True)
        return True

    async def ack(self, leases: Collection[Hashable]) -> None:
        self._holding.settle(leases)

    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        self._holding.postpone(leases, delay)
        self._changed.set()

    async def release(self, leases: Collection[Hashable]) -> None:
        self._holding.put_back(leases)
        self._patience.shorten(GIVEN_BACK, time.monotonic())
        self._thread.wanted_until = self._patience.until
        self._changed.set()

    async def close(self) -> None:
        self._closed = True
        self._changed.set()
        self._beat.cancel()
        self._doubt.cancel()
        if self._looking:
            self._looking.cancel()
        self._thread.alive_until = float("inf")
        self._thread.stop()
        await in_thread(self._thread.join, CLOSE)
        if self._thread.is_alive():
            log.warning(
                "the brokers did not answer within %g s: leaving the group of %s to time out", CLOSE, self._topic
            )
