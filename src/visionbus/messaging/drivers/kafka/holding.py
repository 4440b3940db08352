"""Holding: what one receiver holds in memory, shared by its consumer's thread and the event loop."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, cast

from visionbus.messaging.drivers.kafka.records import message_of, published
from visionbus.messaging.drivers.kafka.tracker import Commit, OffsetTracker
from visionbus.messaging.message import Delivery, delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    from confluent_kafka import Message as Record

Tracker = OffsetTracker[Delivery]


class Lease:
    """One hand-out of one record; two of the same record are different leases."""

    __slots__ = ("offset", "tracker")

    def __init__(self, tracker: Tracker, offset: int) -> None:
        self.tracker = tracker
        self.offset = offset


class Holding:
    """Records that were received and not settled yet: ready to be handed out, handed out, or waiting to come again.

    Each is in `unsettled` of its partition's tracker until it is settled or the partition is taken away; whichever
    comes first, its lease has no effect afterwards. Methods may be called from any thread.
    """

    def __init__(self, limit: int) -> None:
        self.changed = threading.Condition()  # reentrant, notified when there is more room; guards all that follows
        self.hurry = False  # waits for nothing any more: the receiver closes
        self._limit = limit
        self._trackers: dict[int, Tracker] = {}  # by partition
        self._ready: deque[Delivery] = deque()
        self._delayed: list[tuple[float, int, Delivery]] = []  # a heap, by the monotonic time they are due
        self._withdrawn: set[int] = set()  # partitions of which nothing more is handed out
        self._numbers = count()
        self._second = (-1, published(0))  # the last time of a record, in milliseconds and as we give it

    # of the consumer's thread

    def assign(self, number: int, offset: int | None, metadata: str | None) -> None:
        """Begin with a partition, at the group's last commit."""
        with self.changed:
            self._trackers[number] = OffsetTracker(number, offset, metadata)

    def begin_again(self, number: int, offset: int) -> list[Hashable]:
        """Go on with a partition at the earliest offset there is; return the leases that are lost by it.

        None are, if it is only the head of the partition that is gone.
        """
        with self.changed:
            tracker = self._trackers.get(number)
            if tracker is not None and tracker.skip_to(offset):
                return []
            leases = self.forget({number})
            self.assign(number, offset, None)
            return leases

    def numbers(self) -> set[int]:
        """Return the partitions that are ours."""
        with self.changed:
            return set(self._trackers)

    def add(self, records: Iterable[Record]) -> bool:
        """Make deliveries of records, of partitions that are ours; return whether there were any."""
        with self.changed:
            before = len(self._ready)
            for record in records:
                number, offset = record.partition(), record.offset()
                if number is None or offset is None:
                    raise TypeError("a received record has a partition and an offset")
                tracker = self._trackers.get(number)
                if tracker is None or not tracker.receive(offset):
                    continue
                milliseconds = record.timestamp()[1]
                if milliseconds != self._second[0]:
                    self._second = (milliseconds, published(milliseconds))
                one = delivery(message_of(record), f"{number}-{offset}", self._second[1], 1, Lease(tracker, offset))
                tracker.unsettled[offset] = one
                self._ready.append(one)
            return len(self._ready) > before

    def room(self) -> int:
        """Return how many more may be received."""
        return self._limit - sum(len(tracker.unsettled) for tracker in self._trackers.values())

    def blocked(self, already: Collection[int]) -> set[int]:
        """Return the partitions that wait for their gaps to close."""
        with self.changed:
            return {number for number, tracker in self._trackers.items() if tracker.blocked(already=number in already)}

    def commits(self, numbers: Collection[int] | None = None) -> list[tuple[Tracker, Commit]]:
        """Return what to commit, of some partitions or of all."""
        with self.changed:
            return [
                (tracker, commit)
                for number, tracker in self._trackers.items()
                if (numbers is None or number in numbers) and (commit := tracker.due())
            ]

    def drain(self, numbers: Collection[int], timeout: float) -> None:
        """Hand out no more of some partitions, and wait until what is handed out is settled, for so long at most."""
        with self.changed:
            self._withdrawn.update(numbers)
            waiting = {one.lease for one in (*self._ready, *(entry[2] for entry in self._delayed))}
            handed_out = [
                one
                for number, tracker in self._trackers.items()
                if number in numbers
                for one in tracker.unsettled.values()
                if one.lease not in waiting
            ]
            self._ready = deque(one for one in self._ready if _lease_of(one).tracker.number not in numbers)
            self._delayed = [entry for entry in self._delayed if _lease_of(entry[2]).tracker.number not in numbers]
            heapq.heapify(self._delayed)
            self.changed.wait_for(lambda: self.hurry or not any(map(_is_held, handed_out)), timeout)

    def forget(self, numbers: Collection[int]) -> list[Hashable]:
        """Lose some partitions; return the leases that have no effect from now on."""
        self.drain(numbers, 0.0)
        with self.changed:
            self._withdrawn.difference_update(numbers)
            gone = [self._trackers.pop(number) for number in numbers if number in self._trackers]
            leases = [one.lease for tracker in gone for one in tracker.unsettled.values()]
            for tracker in gone:
                tracker.unsettled.clear()
            return leases

    def lies_idle(self) -> bool:
        """Return whether something is ready while nothing is handed out."""
        with self.changed:
            self._make_due_ready()
            held = sum(len(tracker.unsettled) for tracker in self._trackers.values())
            return bool(self._ready) and held == len(self._ready) + len(self._delayed)

    # of the event loop

    def take(self, room: int) -> list[Delivery]:
        """Hand out what is ready, what has come due first."""
        with self.changed:
            self._make_due_ready()
            if room >= len(self._ready):
                taken, self._ready = list(self._ready), deque()
                return taken
            return [self._ready.popleft() for _ in range(room)]

    def next_due(self) -> float:
        """Return the monotonic time at which the next delayed one is due; infinity without one."""
        with self.changed:
            return self._delayed[0][0] if self._delayed else float("inf")

    def settle(self, leases: Iterable[Hashable]) -> None:
        """Settle for good."""
        with self.changed:
            for one in self._held(leases):
                lease = _lease_of(one)
                del lease.tracker.unsettled[lease.offset]
            self.changed.notify_all()

    def postpone(self, leases: Iterable[Hashable], delay: float) -> None:
        """Count an attempt, and hand out again after so many seconds."""
        with self.changed:
            due = time.monotonic() + delay
            for one in self._held(leases):
                old = _lease_of(one)
                lease = Lease(old.tracker, old.offset)
                again = delivery(one.message, one.id, one.published, one.attempt + 1, lease)
                old.tracker.unsettled[old.offset] = again
                if self._is_ours(again):
                    heapq.heappush(self._delayed, (due, next(self._numbers), again))
            self.changed.notify_all()

    def put_back(self, leases: Iterable[Hashable]) -> None:
        """Make ready again, without counting an attempt."""
        with self.changed:
            held = list(self._held(dict.fromkeys(leases)))
            self._ready.extendleft(one for one in reversed(held) if self._is_ours(one))

    def _is_ours(self, one: Delivery) -> bool:
        return _lease_of(one).tracker.number not in self._withdrawn

    def _make_due_ready(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._delayed)[2])

    def _held(self, leases: Iterable[Hashable]) -> Iterator[Delivery]:
        """Give what these leases still hold; looking only when asked for the next, as one may be given twice."""
        for lease in leases:
            if isinstance(lease, Lease):
                one = lease.tracker.unsettled.get(lease.offset)
                if one is not None and one.lease is lease:
                    yield one


def _lease_of(one: Delivery) -> Lease:
    return cast("Lease", one.lease)  # we made it


def _is_held(one: Delivery) -> bool:
    lease = _lease_of(one)
    return lease.tracker.unsettled.get(lease.offset) is one
