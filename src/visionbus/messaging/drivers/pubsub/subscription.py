"""One receiver of a Pub/Sub subscription."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from visionbus.messaging.driver import DriverSubscription, Patience
from visionbus.messaging.drivers.pubsub.acks import A_CALL, Acks, parts
from visionbus.messaging.drivers.pubsub.connection import check_process
from visionbus.messaging.drivers.pubsub.errors import translated
from visionbus.messaging.drivers.pubsub.holding import Holding
from visionbus.messaging.drivers.pubsub.stream import Pull
from visionbus.messaging.drivers.pubsub.streams import EACH, Streams
from visionbus.messaging.errors import MessagingError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Sequence

    from visionbus.messaging.drivers.pubsub.acked import AckedIds
    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.message import Delivery

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 10.0, 600.0  # seconds: the ack deadlines that Pub/Sub takes
TURNS = 8  # looks after leases and streams within an ack deadline ...
TURN = 2.0  # ... or more: seconds between two at most
LOOK = 10.0  # seconds without a message after which it is looked whether the topic is still there
GIVEN_BACK = 0.5  # seconds after which what was released is for others alone, if nobody here asks for it
OPEN = 5.0  # seconds that entering waits for the first stream
FINISH = 2.0  # seconds that closing waits for the ends of the streams ...
FLUSH = 3.0  # ... and for answers to what it says then


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one receiver may hold: messages, bytes of data of those that are ready; on so many streams at most."""

    messages: int
    size: int
    streams: int

    def most_streams(self) -> int:
        """Return how many streams are worth having."""
        return max(1, min(self.streams, self.messages // EACH))

    def of_a_stream(self) -> tuple[int, int]:
        """Return how many messages and bytes may be outstanding on each."""
        return -(-self.messages // self.most_streams()), -(-self.size // self.most_streams())


class PubsubSubscription(DriverSubscription):
    """Hands out what the streams have brought, and keeps the leases of all that is held."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        *,
        ack_deadline: float,
        limits: Limits,
        lost: Callable[[Collection[Hashable]], None],
        acked: AckedIds,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        """Take the subscription's path, and what the bus remembers of its acks; `look` raises what ended it."""
        self.ack_deadline = float(round(min(max(ack_deadline, SHORTEST), LONGEST)))
        self._path = path
        self._lost = lost
        self._look = look
        self._failure: MessagingError | None = None
        self._closed = False
        self._away = False  # the streams are ended, as nobody asks for messages
        self._patience = Patience(self.ack_deadline, time.monotonic())
        self._changed = asyncio.Event()  # there may be something to hand out
        self._hurry = asyncio.Event()  # there may be something here that nobody asks for
        self._heard = time.monotonic()  # when something came
        self._prefetch = limits.messages
        self._holding = Holding(limits.messages, limits.size, self.ack_deadline, acked)
        full = max(1, min(limits.messages // 2, A_CALL))
        self._acks = Acks(connection.call, path, full=full, patience=self.ack_deadline)
        self._pull = Pull(path, self.ack_deadline, *limits.of_a_stream(), self._receive, self._give_back)
        self._streams = Streams(connection, self._pull, limits.most_streams(), self._fail)
        self._look_for_room()
        self._streams.start()
        works = (self._keep, self._look_after_streams, self._look_after_topic)
        self._keeping = [self._kept(work()) for work in works]

    async def opened(self) -> None:
        """Wait for a moment for what keeps this receiver from receiving, and raise it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN):
                await self._pull.opened.wait()
        self._check()

    async def fetch(self, room: int, timeout: float | None) -> Sequence[Delivery]:
        await asyncio.sleep(0)  # where messages never run out, the loop still turns
        self._patience.asked(too_late=self._away)
        if self._away and not self._closed:
            self._away = False
            self._streams.start()
        cancelled = True
        try:
            taken = await self._fetch(room, float("inf") if timeout is None else time.monotonic() + timeout)
            cancelled = False
        finally:
            self._patience.answered(time.monotonic(), cancelled=cancelled)
        return taken

    async def _fetch(self, room: int, ends: float) -> Sequence[Delivery]:
        while not self._closed:
            self._changed.clear()
            now = time.monotonic()
            self._expire(now)
            if taken := self._holding.take(room, now):
                self._look_for_room()
                return taken
            self._check()
            if now >= ends:
                break
            self._streams.hungry(len(self._holding))
            wait = min(ends, self._holding.next_due()) - now
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else max(wait, 0.001)):
                    await self._changed.wait()
        return []

    async def ack(self, leases: Collection[Hashable]) -> None:
        self._expire(time.monotonic())
        self._acks.ack(self._holding.settle(leases), keyed=self._holding.keyed)
        self._look_for_room()

    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        now = time.monotonic()
        self._expire(now)
        self._holding.postpone(leases, now + delay)
        self._changed.set()

    async def release(self, leases: Collection[Hashable]) -> None:
        now = time.monotonic()
        self._expire(now)
        self._holding.put_back(leases)
        self._changed.set()
        if self._patience.until < float("inf"):  # nobody asks
            self._patience.shorten(GIVEN_BACK, now)
            asyncio.get_running_loop().call_later(GIVEN_BACK, self._hurry.set)

    async def close(self) -> None:
        self._closed = True
        self._changed.set()
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        self._acks.send()
        await self._streams.finish(FINISH)
        self._expire(time.monotonic())
        self._acks.give_back(self._holding.withdraw_all())
        await self._acks.flush(FLUSH)

    def _receive(self, received: Any, since: float) -> None:  # noqa: ANN401 (a protobuf list)
        now = self._heard = time.monotonic()
        self._expire(now)
        self._acks.ack(self._holding.add(received, since + self.ack_deadline), keyed=self._holding.keyed)
        self._look_for_room()
        self._changed.set()
        if now > self._patience.until:
            self._hurry.set()
        if self._pull.plenty.is_set():
            self._streams.count(len(received), now)

    def _give_back(self, received: Any) -> None:  # noqa: ANN401 (a protobuf list)
        self._acks.give_back([one.ack_id for one in received])

    def _expire(self, now: float) -> None:
        """Lose what our own clock says is over: the broker does not tell."""
        if over := self._holding.expire(now):
            log.warning("%s: the leases of %d messages ran out: others get them", self._path, len(over))
            self._lost(over)
            self._look_for_room()

    def _look_for_room(self) -> None:
        room = 0 if self._acks.overdue else self._holding.room()
        (self._pull.room.set if room > 0 else self._pull.room.clear)()
        (self._pull.plenty.set if 2 * room >= self._prefetch else self._pull.plenty.clear)()

    def _check(self) -> None:
        check_process()
        if self._failure:
            raise self._failure.with_traceback(None)  # of which each raising adds to it

    def _fail(self, failure: MessagingError) -> None:
        self._failure = failure
        self._pull.opened.set()
        self._changed.set()

    def _kept(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Have something done for as long as the receiver is open, which fails if that does."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                self._fail(translated(error, "receiving"))

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    async def _look_after_streams(self) -> None:
        """Keep the streams alive; beside the leases, as a stream that takes nothing holds this up for seconds."""
        while True:
            await asyncio.sleep(self.ack_deadline / TURNS)
            await self._streams.keep_alive()

    async def _look_after_topic(self) -> None:
        """End with the topic: after its deletion nothing new comes, of which a stream tells nothing."""
        while True:
            await asyncio.sleep(LOOK)
            if time.monotonic() - self._heard < LOOK:
                continue
            try:
                await self._look()
            except NotFoundError as error:
                self._fail(error)
                return
            except MessagingError as error:
                log.info("%s: cannot look whether the topic is still there: %s", self._path, error)

    async def _keep(self) -> None:
        """Extend leases, for as long as the receiver is open."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self.ack_deadline / TURNS, TURN)):
                    await self._hurry.wait()
            self._hurry.clear()
            now = time.monotonic()
            self._expire(now)
            self._look_for_room()
            await self._extend()
            if time.monotonic() > self._patience.until and self._holding.lies_idle(time.monotonic()):
                await self._go_away()

    async def _extend(self) -> None:
        due = self._holding.due(time.monotonic())
        left = iter(due.items())
        for ack_ids in parts(list(due.values())):
            leases = dict(islice(left, len(ack_ids)))
            sent = time.monotonic()
            if await self._acks.extend(ack_ids, self.ack_deadline):
                self._expire(time.monotonic())  # what had run out before the answer came was not extended
                self._holding.extended(leases, sent + self.ack_deadline)

    async def _go_away(self) -> None:
        """Let others have what lies here, until somebody asks for it again."""
        log.warning("%s: nobody receives: what was read ahead is given back", self._path)
        self._away = True
        await self._streams.finish(FINISH)
        if self._away:  # nobody has asked meanwhile
            self._acks.give_back(self._holding.withdraw_ready())
            self._look_for_room()
