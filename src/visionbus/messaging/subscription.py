"""Subscription: the receiving side of the bus, the same over every driver."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Self

from visionbus.messaging.dead_letters import dead_letter, stripped
from visionbus.messaging.errors import ClosedError, MessagingError, NotFoundError, SendError, TooLargeError
from visionbus.messaging.names import dead_letter_topic, topic_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable
    from types import TracebackType

    from visionbus.messaging.driver import Driver, DriverSubscription
    from visionbus.messaging.message import Delivery, Message
    from visionbus.messaging.retry import Retry

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 10_000_000


@dataclass(frozen=True, slots=True)
class FlowControl:
    """How long a receiver may hold messages (seconds), and how many; `ValueError` for values out of range."""

    ack_deadline: float
    max_lease: float
    max_in_flight: int

    def __post_init__(self) -> None:
        if not 1 <= self.ack_deadline <= 600:
            raise ValueError(f"ack_deadline is {self.ack_deadline}; it must be 1 to 600 seconds")
        if not self.max_lease > 0:
            raise ValueError(f"max_lease is {self.max_lease}; it must be more than 0 seconds")
        whole = isinstance(self.max_in_flight, int)
        if not (whole and 1 <= self.max_in_flight <= MAX_IN_FLIGHT):
            raise ValueError(
                f"max_in_flight is {self.max_in_flight}; it must be a whole number, 1 to {MAX_IN_FLIGHT:,}"
            )


class Subscription:
    """One receiver of a subscription, made by `Bus.subscribe` and used in `async with`.

    Settle every delivery: `ack` when its work is done and safe, `nack` to get it again later, `reject` to send it to
    the dead letters. Until then its lease is extended while the event loop runs, up to `max_lease` seconds. `async for`
    yields deliveries one by one, and ends when the subscription is closed. `topic` and `name` are what was subscribed
    to; `ack_deadline` (seconds) is the value in force once entered.
    """

    def __init__(
        self,
        driver: Driver,
        topic: str,
        name: str,
        flow: FlowControl,
        retry: Retry,
        forget: Callable[[Subscription], None],
    ) -> None:
        self.topic = topic
        self.name = name
        self.ack_deadline = flow.ack_deadline
        self._driver = driver
        self._flow = flow
        self._retry = retry
        self._forget = forget
        self._dead_topic = dead_letter_topic(topic, name)
        self._attached: DriverSubscription | None = None
        self._closed = False
        self._left = False  # what was attached is closed
        self._closing = asyncio.Lock()  # whoever closes meanwhile waits too
        self._turn = asyncio.Lock()  # one fetch at a time, receivers in the order they came
        self._room = asyncio.Event()  # set when a place has become free, or on close
        self._ready: dict[Hashable, Delivery] = {}  # fetched, not handed out: gathered for a batch
        self._in_flight: dict[Hashable, tuple[float, Delivery]] = {}  # handed out: its end (loop time), oldest first
        self._dead_lettering: set[Hashable] = set()  # in flight, their dead letters being sent
        self._expiry: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._closed or self._attached is not None:
            raise ClosedError("a subscription is entered once: call bus.subscribe again")
        try:
            self._attached = await self._driver.attach(
                self.topic,
                self.name,
                ack_deadline=self._flow.ack_deadline,
                prefetch=self._flow.max_in_flight,
                lost=self._lost,
            )
        except NotFoundError as error:
            if self._dead_topic and (fault := topic_fault(self.topic)):
                raise ValueError(fault) from error
            raise
        if self._closed:
            await self.close()
            raise ClosedError(f"subscription {self.name!r} of {self.topic!r} was closed while it was being entered")
        self.ack_deadline = self._attached.ack_deadline
        self._expiry = asyncio.create_task(self._expire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send the acks that are held, and give back at once what is not acked, within seconds."""
        self._closed = True
        self._room.set()
        if self._expiry:
            self._expiry.cancel()
        async with self._closing:
            if self._attached and not self._left:
                self._left = True
                self._ready.clear()
                self._in_flight.clear()
                try:
                    await self._attached.close()
                except BaseException:
                    self._left = False  # closing once more, as the bus does, finishes it
                    raise
        self._forget(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        try:
            (one,) = await self.receive()
        except ClosedError:
            if self._attached is None:
                raise
            raise StopAsyncIteration from None
        return one

    async def receive(
        self,
        max_messages: int = 1,
        *,
        linger: float = 0.0,
        timeout: float | None = None,
    ) -> list[Delivery]:
        """Return 1 to `max_messages` deliveries as soon as there is one, or none after `timeout` seconds.

        With `linger`, keeps gathering for that many seconds after the first message, until the batch is full or
        `max_in_flight` is reached. Cancelling loses nothing: what was gathered goes back to the broker. Raises
        `ClosedError` if the subscription is closed, before or meanwhile.
        """
        if max_messages < 1 or not linger >= 0 or not (timeout is None or timeout >= 0):  # NaN is neither
            raise ValueError("receive takes max_messages of at least 1, linger and timeout of at least 0")
        self._attachment()
        now = asyncio.get_running_loop().time
        deadline = None if timeout is None else now() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            return []
        try:
            while not self._ready:
                await self._gather(max_messages, deadline)
                if deadline is not None and now() >= deadline:
                    break
            deadline = now() + linger
            while 0 < len(self._ready) < max_messages and self._free_room() and now() < deadline:
                await self._gather(max_messages - len(self._ready), deadline)
            self._attachment()
            return self._hand_out(max_messages)
        except asyncio.CancelledError:
            await self._release_ready()
            raise
        finally:
            self._turn.release()

    async def ack(self, *deliveries: Delivery) -> None:
        """Settle: these never come again to this subscription. Acking twice or too late is harmless."""
        attached = self._attachment()
        leases = [one.lease for one in deliveries if one.lease in self._in_flight]
        await attached.ack(leases)
        self._settled(leases)

    async def nack(self, *deliveries: Delivery, delay: float | None = None) -> None:
        """Get these again after `delay` seconds (None: as `Retry` says); after the last attempt, dead-letter them."""
        if delay is not None and not 0 <= delay < float("inf"):
            raise ValueError(f"delay is {delay}; it must be a finite number of seconds, at least 0")
        attached = self._attachment()
        again: defaultdict[float, list[Hashable]] = defaultdict(list)
        last = []
        for one in self._held(deliveries):
            if self._is_last(one):
                last.append(one)
            else:
                again[self._retry.delay_after(one.attempt) if delay is None else delay].append(one.lease)
        for seconds, leases in again.items():
            try:
                await attached.nack(leases, seconds)
            except asyncio.CancelledError:
                self._settled(leases)  # it goes on without us
                raise
            self._settled(leases)
        await self._dead_letter(last, f"given up: nacked at the last of {self._retry.max_attempts} attempts")

    async def reject(self, *deliveries: Delivery, reason: str) -> None:
        """Send these to the dead letters at once, with the reason, then ack them.

        Raises `ValueError` on a subscription of dead letters, which has no dead letters of its own.
        """
        self._attachment()
        if not self._dead_topic:
            raise ValueError(f"{self.topic} holds dead letters, which cannot be rejected again: ack or nack them")
        await self._dead_letter(self._held(deliveries), reason)

    def _attachment(self) -> DriverSubscription:
        if self._closed:
            raise ClosedError(f"subscription {self.name!r} of {self.topic!r} is closed")
        if self._attached is None:
            raise ClosedError("the subscription is not open: use `async with bus.subscribe(...) as subscription`")
        return self._attached

    def _free_room(self) -> int:
        return self._flow.max_in_flight - len(self._in_flight) - len(self._ready)

    async def _gather(self, wanted: int, deadline: float | None) -> None:
        """Put what the driver has into `_ready`, waiting until `deadline` for the first, or for room."""
        attached = self._attachment()
        left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        if room := min(wanted, self._free_room()):
            for one in await attached.fetch(room, left):
                self._ready[one.lease] = one
            return
        self._room.clear()
        try:
            async with asyncio.timeout(left):
                await self._room.wait()
        except TimeoutError:
            return

    async def _release_ready(self) -> None:
        """Let other receivers have what a cancelled receive had gathered: this one may not ask again."""
        gathered, self._ready = self._ready, {}
        if not gathered or self._closed:
            return
        try:
            await self._attachment().release(list(gathered))
        except MessagingError as error:
            self._ready = gathered
            log.warning("what a cancelled receive had gathered is kept for the next one: %s", error)

    def _hand_out(self, most: int) -> list[Delivery]:
        if most >= len(self._ready):
            batch = list(self._ready.values())
            self._ready.clear()
        else:
            batch = [self._ready.pop(lease) for lease in list(self._ready)[:most]]
        if self._dead_topic:
            batch = [stripped(one) for one in batch]
        ends = asyncio.get_running_loop().time() + self._flow.max_lease
        for one in batch:
            self._in_flight[one.lease] = (ends, one)
        return batch

    def _is_last(self, one: Delivery) -> bool:
        return self._dead_topic is not None and self._retry.is_last(one.attempt)

    def _held(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Leave out what is settled, lost, on its way to the dead letters, or given twice."""
        mine = {one.lease: one for one in deliveries if one.lease in self._in_flight}
        return [one for lease, one in mine.items() if lease not in self._dead_lettering]

    def _settled(self, leases: Iterable[Hashable]) -> None:
        for lease in leases:
            self._in_flight.pop(lease, None)
        self._room.set()

    def _lost(self, leases: Collection[Hashable]) -> None:
        for lease in leases:
            self._ready.pop(lease, None)
        self._settled(leases)

    async def _dead_letter(self, deliveries: list[Delivery], reason: str, *, with_data: bool = True) -> None:
        """Publish dead letters, then ack what they were made of; what the broker did not confirm stays in flight.

        A dead letter is larger than its original: where it is too large for the broker, it goes without its data, if
        the broker keeps the original all the same.
        """
        if not (deliveries and self._dead_topic):
            return
        most = self._driver.max_attributes
        letters = [
            dead_letter(one, self.topic, self.name, reason, with_data=with_data, max_attributes=most)
            for one in deliveries
        ]
        self._dead_lettering.update(one.lease for one in deliveries)
        try:
            failures = await self._failures(self._dead_topic, letters)
        finally:
            self._dead_lettering.difference_update(one.lease for one in deliveries)
        made = list(zip(deliveries, letters, strict=True))
        await self.ack(*(one for one, letter in made if id(letter) not in failures))
        large = [one for one, letter in made if _is_too_large(failures.get(id(letter)))]
        if large and with_data and self._driver.keeps_acked:
            text = "%d dead letters are too large for the broker and go without their data, which stays in %s"
            log.warning(text, len(large), self.topic)
            await self._dead_letter(large, reason, with_data=False)
            failures = {letter: failure for letter, failure in failures.items() if not _is_too_large(failure)}
        if failures:
            raise SendError([(letter, failures[id(letter)]) for letter in letters if id(letter) in failures])

    async def _failures(self, topic: str, letters: list[Message]) -> dict[int, MessagingError]:
        """Send, and return by the identity of its letter what failed; raises what all failed for, unless by size."""
        try:
            await self._driver.send(topic, letters)
        except TooLargeError as error:
            return {id(letter): error for letter in letters}
        except SendError as error:
            return {id(letter): failure for letter, failure in error.unconfirmed}
        return {}

    async def _expire(self) -> None:
        """Take back what is not settled within `max_lease`, for as long as the subscription is open."""
        now = asyncio.get_running_loop().time
        while True:
            oldest = next(iter(self._in_flight.values()), None)
            # a pause even where the oldest is over already: its dead letter may be on its way
            await asyncio.sleep(max(0.01, oldest[0] - now()) if oldest else self._flow.max_lease)
            over = [one for _, one in takewhile(lambda held: held[0] <= now(), self._in_flight.values())]
            try:
                await self._take_back(self._held(over))
            except (MessagingError, ValueError) as error:  # `ValueError`: a dead letter that the bus cannot carry
                log.warning("what ran out of max_lease on %s cannot be taken back yet: %s", self.topic, error)
                await asyncio.sleep(1.0)

    async def _take_back(self, over: list[Delivery]) -> None:
        """Count an attempt for each: the last one makes a dead letter, any other comes again at once."""
        if over:
            log.warning("%d messages of %s were not settled within %g s", len(over), self.topic, self._flow.max_lease)
        again = [one.lease for one in over if not self._is_last(one)]
        await self._attachment().nack(again, 0.0)
        self._settled(again)
        reason = f"given up: the last of {self._retry.max_attempts} attempts took over {self._flow.max_lease:g} s"
        await self._dead_letter([one for one in over if self._is_last(one)], reason)


def _is_too_large(failure: MessagingError | None) -> bool:
    return isinstance(failure, TooLargeError)
