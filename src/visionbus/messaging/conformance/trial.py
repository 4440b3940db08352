"""Trial: one run of one conformance test on one bus, with fresh names, connections that are closed, a seed and a time
limit.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from visionbus.messaging.bus import Bus, connect
from visionbus.messaging.message import Message
from visionbus.messaging.retry import Retry

if TYPE_CHECKING:
    from types import TracebackType

    from visionbus.messaging.message import Delivery
    from visionbus.messaging.subscription import Subscription

WORKERS = "workers"  # the subscription of most tests
LEASE = 1.0  # seconds that tests ask for which wait for leases to run out: the shortest there is
DEADLINES = 10  # such a test may wait for so many, one after the other


class Trial:
    """What a test needs of the bus under test; everything that it opens is closed at its end.

    Its time limit is `patience` seconds, and `DEADLINES` times the longest lease in force among the receivers that
    asked for the shortest: brokers with long leases so get the time that they need.
    """

    def __init__(self, url: str, seed: int, patience: float) -> None:
        self.url = url
        self.random = random.Random(seed)  # noqa: S311 (nothing secret: a run is to be repeatable)
        self._patience = patience
        self._limit = asyncio.Timeout(None)
        self._started = 0.0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._limit)
        self._started = asyncio.get_running_loop().time()
        self._limit.reschedule(self._started + self._patience)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def bus(self) -> Bus:
        """Connect once more."""
        return await self._stack.enter_async_context(connect(self.url))

    async def topic(self, *subscriptions: str) -> str:
        """Declare a topic of a name that nobody else uses, and its subscriptions (`WORKERS` where none is named)."""
        name = fresh_name()
        async with connect(self.url) as bus:
            await bus.declare(name, *(subscriptions or (WORKERS,)))
        return name

    async def receiver(
        self,
        topic: str,
        subscription: str = WORKERS,
        *,
        ack_deadline: float = 10.0,
        max_lease: float = 3600.0,
        max_in_flight: int = 1000,
        retry: Retry = Retry(),  # noqa: B008 (frozen)
    ) -> Subscription:
        """Open a receiver on a connection of its own."""
        bus = await self.bus()
        receiver = bus.subscribe(
            topic,
            subscription,
            ack_deadline=ack_deadline,
            max_lease=max_lease,
            max_in_flight=max_in_flight,
            retry=retry,
        )
        await self._stack.enter_async_context(receiver)
        if ack_deadline == LEASE:
            self.wait_for_leases_of(receiver.ack_deadline)
        return receiver

    async def send(self, topic: str, *messages: Message) -> list[str]:
        """Send by a connection that is closed again."""
        async with connect(self.url) as bus:
            return await bus.send(topic, *messages)

    def wait_for_leases_of(self, ack_deadline: float) -> None:
        """Allow for several leases of so many seconds, one after the other."""
        until = self._started + self._patience + DEADLINES * ack_deadline
        self._limit.reschedule(max(until, self._limit.when() or 0.0))


def fresh_name() -> str:
    """Give a topic name that nobody else uses."""
    return f"conformance-{uuid.uuid4().hex}"


def numbered(count: int, key: str | None = None, prefix: str = "") -> list[Message]:
    """Make messages whose data is their number, after a prefix."""
    return [Message(f"{prefix}{number}".encode(), key) for number in range(count)]


def contents(things: list[Delivery] | list[Message]) -> list[bytes]:
    """Give the data of each."""
    return [thing.data if isinstance(thing, Message) else thing.message.data for thing in things]


async def take(receiver: Subscription, count: int) -> list[Delivery]:
    """Receive so many messages, settling none.

    Of one that comes twice, as it may when receivers come and go, the later delivery is kept.
    """
    taken: dict[str, Delivery] = {}
    while len(taken) < count:
        taken.update((one.id, one) for one in await receiver.receive(count - len(taken)))
    return list(taken.values())


async def finish(receiver: Subscription, count: int) -> list[Delivery]:
    """Receive so many messages, and ack each batch as it comes."""
    done: dict[str, Delivery] = {}
    while len(done) < count:
        batch = await receiver.receive(count - len(done))
        await receiver.ack(*batch)
        done.update((one.id, one) for one in batch)
    return list(done.values())
