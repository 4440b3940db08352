"""`memory://`: the readable reference. All connections of a process share one bus, whatever their threads and event
loops.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from visionbus.messaging.driver import Address, Driver, DriverSubscription
from visionbus.messaging.errors import NotFoundError
from visionbus.messaging.message import Delivery, Message, delivery, received_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

_lock = threading.Lock()  # held for every look at what follows
_topics: dict[str, dict[str, _Queue]] = {}
_numbers = count(1)  # of messages and of hand-outs


@dataclass(slots=True)
class _Entry:
    """A message in one subscription."""

    number: int
    message: Message
    published: datetime
    attempt: int = 1

    def __lt__(self, other: _Entry) -> bool:
        return self.number < other.number


@dataclass(slots=True, eq=False)
class _Queue:
    """One subscription: what waits, what is delayed, and who receives."""

    waiting: list[_Entry] = field(default_factory=list)  # a heap, oldest first
    delayed: list[tuple[float, _Entry]] = field(default_factory=list)  # a heap, by the monotonic time they are due
    receivers: set[MemorySubscription] = field(default_factory=set)

    def add(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            heapq.heappush(self.waiting, entry)
        for receiver in self.receivers:
            receiver.wake()

    def claim(self, receiver: MemorySubscription, room: int) -> list[_Entry]:
        """Take the oldest entries that are due and whose key no other receiver holds."""
        now = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now:
            heapq.heappush(self.waiting, heapq.heappop(self.delayed)[1])
        others = self.receivers - {receiver}
        for other in others:
            if other.alive_until < now:
                self.add(other.give_up())
        keys = {entry.message.key for other in others for entry in other.held.values()} - {None}
        claimed: list[_Entry] = []
        passed: list[_Entry] = []
        while self.waiting and len(claimed) < room:
            entry = heapq.heappop(self.waiting)
            (passed if entry.message.key in keys else claimed).append(entry)
        for entry in passed:
            heapq.heappush(self.waiting, entry)
        return claimed

    def next_change(self, receiver: MemorySubscription) -> float:
        """Return the monotonic time at which entries may become free by themselves."""
        ends = [other.alive_until for other in self.receivers if other is not receiver and other.held]
        return min([*ends, *(due for due, _ in self.delayed[:1])], default=float("inf"))


def _copy(message: Message) -> Message:
    """Part with the sender's and each other receiver's attributes, as on a real broker."""
    return received_message(message.data, message.key, dict(message.attributes))


class MemoryDriver(Driver):
    """The bus of this process."""

    across_processes = False

    def __init__(self, address: Address) -> None:
        if address.host or address.path:
            raise ValueError("memory:// takes no host and no path: there is one such bus in a process")

    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        with _lock:
            if not create:
                _queues(topic)
            queues = _topics.setdefault(topic, {})
            for name in subscriptions:
                queues.setdefault(name, _Queue())

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        published = datetime.now(UTC)
        with _lock:
            queues = _queues(topic)
            numbered = [(next(_numbers), _copy(message)) for message in messages]
            for queue in queues.values():
                queue.add(_Entry(number, message, published) for number, message in numbered)
        return [str(number) for number, _ in numbered]

    async def attach(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float,
        prefetch: int,  # noqa: ARG002 (nothing is read ahead)
        lost: Callable[[Collection[Hashable]], None],
    ) -> MemorySubscription:
        with _lock:
            queue = _queues(topic).get(subscription)
            if queue is None:
                raise NotFoundError.undeclared(topic, subscription)
            receiver = MemorySubscription(queue, ack_deadline, lost)
            queue.receivers.add(receiver)
        return receiver

    async def close(self) -> None:
        """Nothing is held besides the subscriptions."""


def _queues(topic: str) -> dict[str, _Queue]:
    if topic not in _topics:
        raise NotFoundError.undeclared(topic)
    return _topics[topic]


class MemorySubscription(DriverSubscription):
    """One receiver. Its whole lease is one time: until when it is known to be alive."""

    def __init__(self, queue: _Queue, ack_deadline: float, lost: Callable[[Collection[Hashable]], None]) -> None:
        self.ack_deadline = ack_deadline
        self.alive_until = time.monotonic() + ack_deadline
        self.held: dict[int, _Entry] = {}  # by lease
        self._queue = queue
        self._lost = lost
        self._gone: list[int] = []  # leases that others took over, not yet reported
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._heart = self._loop.create_task(self._beat())

    def wake(self) -> None:
        """Have a waiting fetch look again; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def give_up(self) -> list[_Entry]:
        """Lose all to another receiver."""
        entries = list(self.held.values())
        self._gone.extend(self.held)
        self.held.clear()
        return entries

    async def fetch(self, room: int, timeout: float | None) -> list[Delivery]:
        ends = float("inf") if timeout is None else time.monotonic() + timeout
        await asyncio.sleep(0)  # where messages never run out, the loop still turns: heartbeats, other receivers
        while not self._closed:
            self._changed.clear()
            with _lock:
                if claimed := self._queue.claim(self, room):
                    return [self._deliver(entry) for entry in claimed]
                change = self._queue.next_change(self)
            now = time.monotonic()
            if now >= ends:
                break
            wait = min(ends, change) - now
            try:
                async with asyncio.timeout(None if wait == float("inf") else max(wait, 0.001)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return []

    def _deliver(self, entry: _Entry) -> Delivery:
        lease = next(_numbers)
        self.held[lease] = entry
        return delivery(_copy(entry.message), str(entry.number), entry.published, entry.attempt, lease)

    async def ack(self, leases: Collection[Hashable]) -> None:
        with _lock:
            self._pop(leases)
            self._wake_others()  # a key may have become free

    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        with _lock:
            for entry in self._pop(leases):
                entry.attempt += 1
                heapq.heappush(self._queue.delayed, (time.monotonic() + delay, entry))
            self._wake_others()
            self.wake()

    async def release(self, leases: Collection[Hashable]) -> None:
        with _lock:
            self._queue.add(self._pop(leases))

    async def close(self) -> None:
        with _lock:
            self._closed = True
            self._queue.receivers.discard(self)
            self._queue.add(self.give_up())
        self._changed.set()
        self._heart.cancel()

    def _pop(self, leases: Collection[Hashable]) -> list[_Entry]:
        return [self.held.pop(lease) for lease in leases if lease in self.held]

    def _wake_others(self) -> None:
        for receiver in self._queue.receivers - {self}:
            receiver.wake()

    async def _beat(self) -> None:
        while True:
            with _lock:
                self.alive_until = time.monotonic() + self.ack_deadline
                gone, self._gone = self._gone, []
            if gone:
                self._lost(gone)
            await asyncio.sleep(self.ack_deadline / 3)
