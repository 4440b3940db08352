"""Holding: what one receiver holds in memory, shared by its consumer's thread and the event loop."""

from __future__ import annotations

import heapq
import secrets
import threading
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, cast

from visionbus.messaging.drivers.kafka.records import message_of, published
from visionbus.messaging.drivers.kafka.tracker import MAX_GAPS, MAX_UNSETTLED, Commit, OffsetTracker
from visionbus.messaging.message import Delivery, delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    from visionbus.messaging.drivers.kafka.records import Record

EACH = 1000  # records of a partition in memory, on average
Tracker = OffsetTracker[Delivery]

# A lease is one number: the assignment's epoch, the number of the hand-out, the offset. Objects would cost the garbage
# collector more than all else that is done for a message.
_OFFSET = (1 << 64) - 1
_HAND_OUT = 64  # bits to the left
_EPOCH = 96


class Holding:
    """Records that were received and not settled yet: ready to be handed out, handed out, or waiting to come again.

    Each is in `unsettled` of its partition's tracker until it is settled or the partition is taken away; whichever
    comes first, its lease has no effect afterwards. Methods may be called from any thread.
    """

    def __init__(self, limit: int, max_bytes: int = 1 << 24) -> None:
        """Hold so many records at most, of which those that are ready may have so many bytes of data."""
        self.changed = threading.Condition()  # reentrant, notified when there is more room; guards all that follows
        self.hurry = False  # waits for nothing any more: the receiver closes
        self._limit = limit
        self._max_bytes = max_bytes
        self._ready_bytes = 0
        self._trackers: dict[int, Tracker] = {}  # by partition
        self._epochs: dict[int, Tracker] = {}  # the same by epoch
        self._ready: deque[Delivery] = deque()
        self._delayed: list[tuple[float, int, Delivery]] = []  # a heap, by the monotonic time they are due
        self._withdrawn: set[int] = set()  # partitions of which nothing more is handed out
        self._numbers = count()
        self._next_epoch = count(secrets.randbits(40))  # leases of other receivers are none of ours
        self._published = (-1, published(0))  # the last record's time, in milliseconds and as we give it

    # of the consumer's thread

    def assign(self, number: int, offset: int | None, metadata: str | None) -> None:
        """Begin with a partition, at the group's last commit."""
        with self.changed:
            self.forget({number})
            tracker: Tracker = OffsetTracker(number, offset, metadata, next(self._next_epoch))
            self._trackers[number] = self._epochs[tracker.epoch] = tracker

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

    def add(self, records: list[Record]) -> bool:
        """Make deliveries of records, of partitions that are ours; return whether there were any. The list is emptied.

        Each record is let go of when its delivery is made: the fewer objects live at a time, the less often the garbage
        collector runs, and the fewer it keeps for its long rounds.
        """
        with self.changed:
            ready = self._ready
            before = len(ready)
            last, tracker, first_lease = -1, None, 0
            records.reverse()
            while records:
                record = records.pop()
                number = record.partition()
                offset = record.offset()
                if number != last:
                    last, tracker = number, self._trackers.get(number)
                    first_lease = tracker.epoch << _EPOCH | 1 << _HAND_OUT if tracker is not None else 0
                if tracker is None or not tracker.receive(offset):
                    continue
                milliseconds = record.timestamp()[1]
                if milliseconds != self._published[0]:
                    self._published = (milliseconds, published(milliseconds))
                message = message_of(record)
                one = delivery(message, f"{number}-{offset}", self._published[1], 1, first_lease | offset)
                tracker.unsettled[offset] = one
                ready.append(one)
                self._ready_bytes += len(message.data)
            return len(ready) > before

    def room(self) -> int:
        """Return how many more may be received: what is allowed, but no more than commits can tell of partitions."""
        with self.changed:
            if self._ready_bytes >= self._max_bytes:
                return 0
            limit = min(self._limit, EACH * max(1, len(self._trackers)))
            return limit - sum(len(tracker.unsettled) for tracker in self._trackers.values())

    def at_once(self) -> int:
        """Return how many may come of any one partition that is read, so that commits can tell of all its gaps."""
        with self.changed:
            counts = [len(tracker.unsettled) for tracker in self._trackers.values()]
            return MAX_GAPS - max((count for count in counts if count < MAX_UNSETTLED), default=0)

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

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, unless the receiver closes."""
        with self.changed:
            self.changed.wait_for(lambda: self.hurry, seconds)

    def drain(self, numbers: Collection[int], timeout: float) -> None:
        """Hand out no more of some partitions, and wait until what is handed out is settled, for so long at most."""
        with self.changed:
            self._withdrawn.update(numbers)
            waiting = {one.lease for one in (*self._ready, *(entry[2] for entry in self._delayed))}
            self._ready = deque(one for one in self._ready if self._is_ours(one))
            self._delayed = [entry for entry in self._delayed if self._is_ours(entry[2])]
            heapq.heapify(self._delayed)
            self._ready_bytes = sum(len(one.message.data) for one in self._ready)
            handed_out = [
                one.lease
                for number in numbers
                if number in self._trackers
                for one in self._trackers[number].unsettled.values()
                if one.lease not in waiting
            ]
            self.changed.wait_for(lambda: self.hurry or not any(self._held(handed_out)), timeout)

    def forget(self, numbers: Collection[int]) -> list[Hashable]:
        """Lose some partitions; return the leases that have no effect from now on."""
        self.drain(numbers, 0.0)
        with self.changed:
            self._withdrawn.difference_update(numbers)
            gone = [self._trackers.pop(number) for number in numbers if number in self._trackers]
            leases = [one.lease for tracker in gone for one in tracker.unsettled.values()]
            for tracker in gone:
                del self._epochs[tracker.epoch]
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
            was_full = self._ready_bytes >= self._max_bytes
            if room >= len(self._ready):
                taken, self._ready = list(self._ready), deque()
                self._ready_bytes = 0
            else:
                taken = [self._ready.popleft() for _ in range(room)]
                self._ready_bytes -= sum(len(one.message.data) for one in taken)
            if was_full:
                self.changed.notify_all()
            return taken

    def next_due(self) -> float:
        """Return the monotonic time at which the next delayed one is due; infinity without one."""
        with self.changed:
            return self._delayed[0][0] if self._delayed else float("inf")

    def settle(self, leases: Iterable[Hashable]) -> None:
        """Settle for good."""
        with self.changed:
            epochs = self._epochs
            for lease in leases:  # as `_held` does, which takes twice the time: every message comes here
                if isinstance(lease, int) and (tracker := epochs.get(lease >> _EPOCH)):
                    offset = lease & _OFFSET
                    one = tracker.unsettled.get(offset)
                    if one is not None and one.lease == lease:
                        del tracker.unsettled[offset]
            self.changed.notify_all()

    def postpone(self, leases: Iterable[Hashable], delay: float) -> None:
        """Count an attempt, and hand out again after so many seconds."""
        with self.changed:
            due = time.monotonic() + delay
            for tracker, offset, one in self._held(leases):
                again = self._renew(tracker, offset, one, one.attempt + 1)
                if tracker.number not in self._withdrawn:
                    heapq.heappush(self._delayed, (due, next(self._numbers), again))
            self.changed.notify_all()

    def put_back(self, leases: Iterable[Hashable]) -> None:
        """Make ready again, without counting an attempt."""
        with self.changed:
            again = [self._renew(tracker, offset, one, one.attempt) for tracker, offset, one in self._held(leases)]
            for one in reversed(again):
                if self._is_ours(one):
                    self._make_ready(one)

    def _renew(self, tracker: Tracker, offset: int, one: Delivery, attempt: int) -> Delivery:
        """Replace what is unsettled by its next hand-out; the lease of this one has no effect any more."""
        number = (cast("int", one.lease) >> _HAND_OUT) + 1 & 0xFFFFFFFF
        lease = tracker.epoch << _EPOCH | number << _HAND_OUT | offset
        again = delivery(one.message, one.id, one.published, attempt, lease)
        tracker.unsettled[offset] = again
        return again

    def _is_ours(self, one: Delivery) -> bool:
        return self._epochs[cast("int", one.lease) >> _EPOCH].number not in self._withdrawn

    def _make_ready(self, one: Delivery) -> None:
        self._ready.appendleft(one)
        self._ready_bytes += len(one.message.data)

    def _make_due_ready(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            self._make_ready(heapq.heappop(self._delayed)[2])

    def _held(self, leases: Iterable[Hashable]) -> Iterator[tuple[Tracker, int, Delivery]]:
        """Give what these leases still hold; looking only when asked for the next, as one may be given twice."""
        for lease in leases:
            if isinstance(lease, int) and (tracker := self._epochs.get(lease >> _EPOCH)):
                offset = lease & _OFFSET
                one = tracker.unsettled.get(offset)
                if one is not None and one.lease == lease:
                    yield tracker, offset, one
