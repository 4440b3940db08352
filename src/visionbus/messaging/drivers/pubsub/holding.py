"""Holding: what one receiver holds in memory, and until when it may believe that it holds it."""

from __future__ import annotations

import heapq
import secrets
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

from visionbus.messaging.drivers.pubsub.records import delivery_of, published
from visionbus.messaging.message import delivery

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from visionbus.messaging.drivers.pubsub.acked import AckedIds
    from visionbus.messaging.message import Delivery

GONE = float("-inf")  # the end of a lease of a message that is not there any more
EXTENDED = 2 / 3  # of the ack deadline: what has less left is extended

# A lease is one number, and what belongs to it lies in dictionaries: an object for each message would cost more than
# all else that is done here.


class Holding:
    """Messages that were received and are not settled: ready to be handed out, handed out, or waiting to come again.

    The broker names the hand-out of a message by an ack id, and takes the message back when its lease runs out, of
    which it tells nobody: so the end of each lease is kept by the caller's own clock, which methods are given (`now`,
    `due` and `ends`, in seconds), and what has run out is nobody's any more (`expire`).
    """

    def __init__(self, prefetch: int, prefetch_bytes: int, ack_deadline: float, acked: AckedIds) -> None:
        """Want so many messages at most, of which those that are ready may have so many bytes of data."""
        self._prefetch = prefetch
        self._prefetch_bytes = prefetch_bytes
        self._ack_deadline = ack_deadline
        self._acked = acked
        self._deliveries: dict[int, Delivery] = {}  # by lease, as the two that follow
        self._ack_ids: dict[int, str] = {}
        self._ends: dict[int, float] = {}
        self._leases: dict[str, int] = {}  # by message id
        self._ready: deque[Delivery] = deque()
        self._ready_bytes = 0
        self._delayed: list[tuple[float, int, Delivery]] = []  # a heap, by the time they are due
        self._next_lease = secrets.randbits(48)  # leases of other receivers are none of ours
        self._earliest = float("inf")  # no lease ends before
        self.keyed = False  # whether any message had a key

    def __len__(self) -> int:
        return len(self._deliveries)

    def room(self) -> int:
        """Return how many more are wanted."""
        return 0 if self._ready_bytes >= self._prefetch_bytes else max(0, self._prefetch - len(self._deliveries))

    def lies_idle(self, now: float) -> bool:
        """Return whether something is ready while nothing is handed out."""
        self._make_due_ready(now)
        return bool(self._ready) and len(self._deliveries) == len(self._ready) + len(self._delayed)

    def next_due(self) -> float:
        """Return when the next one is due that waits to come again; infinity without one."""
        return self._delayed[0][0] if self._delayed else float("inf")

    def add(self, received: Sequence[Any], ends: float) -> list[str]:
        """Hold what a stream brought, with leases that end then; return the ack ids of repeats of what was acked.

        What is held already stays as it is: the ack id that came last is the one that counts.
        """
        received = list(received)  # once, as the messages: each access makes an object anew
        messages = [one.message for one in received]
        names = [message.message_id for message in messages]
        acked = self._acked.among(names)
        repeats: list[str] = []
        if acked or len(set(names)) < len(names) or not self._leases.keys().isdisjoint(names):
            received, repeats = self._merge(received, names, acked, ends)
            messages = [one.message for one in received]
            names = [message.message_id for message in messages]
        first = self._next_lease
        self._next_lease += len(names)
        leases = range(first, self._next_lease)
        made = list(map(delivery_of, messages, names, repeat(1), leases))
        self._leases.update(zip(names, leases, strict=True))
        self._ack_ids.update(zip(leases, [one.ack_id for one in received], strict=True))
        self._ends.update(dict.fromkeys(leases, ends))
        self._deliveries.update(zip(leases, made, strict=True))
        self._ready.extend(made)
        self._ready_bytes += sum([len(one.message.data) for one in made])
        self._earliest = min(self._earliest, ends)
        self.keyed = self.keyed or any(one.message.key for one in made)
        return repeats

    def _merge(
        self, received: Sequence[Any], names: list[str], acked: Mapping[str, datetime], ends: float
    ) -> tuple[list[Any], list[str]]:
        """Sort out what is held or was acked: return the others, each once, and the ack ids of what was acked.

        What is held under the same id, and was published at another time, is gone from a broker that began anew.
        """
        fresh: dict[str, Any] = {}
        repeats = []
        for name, one in zip(names, received, strict=True):
            time = published(one.message)
            lease = self._leases.get(name)
            if acked.get(name) == time:
                repeats.append(one.ack_id)
            elif lease is not None and self._deliveries[lease].published == time:
                self._ack_ids[lease] = one.ack_id
                self._ends[lease] = ends
            else:
                fresh[name] = one
                if lease is not None:
                    self._ends[lease] = self._earliest = GONE
        return list(fresh.values()), repeats

    def take(self, room: int, now: float) -> list[Delivery]:
        """Hand out what is ready, at most so many, what has come due first."""
        self._make_due_ready(now)
        if room >= len(self._ready):
            taken, self._ready = list(self._ready), deque()
            self._ready_bytes = 0
        else:
            taken = [self._ready.popleft() for _ in range(room)]
            self._ready_bytes -= sum(len(one.message.data) for one in taken)
        return taken

    def _renew(self, lease: int, attempts: int) -> Delivery:
        """Replace what is held by its next hand-out; the lease of this one has no effect any more."""
        one = self._deliveries.pop(lease)
        fresh = self._next_lease
        self._next_lease += 1
        again = delivery(one.message, one.id, one.published, one.attempt + attempts, fresh)
        self._deliveries[fresh] = again
        self._leases[one.id] = fresh
        self._ack_ids[fresh] = self._ack_ids.pop(lease)
        self._ends[fresh] = self._ends.pop(lease)
        return again

    def _make_ready(self, one: Delivery) -> None:
        self._ready.appendleft(one)
        self._ready_bytes += len(one.message.data)

    def _make_due_ready(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._make_ready(heapq.heappop(self._delayed)[2])

    def settle(self, leases: Iterable[Hashable]) -> list[str]:
        """Settle for good; return the ack ids to ack."""
        found = {lease: one for lease in cast("Iterable[int]", leases) if (one := self._deliveries.pop(lease, None))}
        ack_ids = []
        for lease, one in found.items():
            del self._leases[one.id], self._ends[lease]
            ack_ids.append(self._ack_ids.pop(lease))
        self._acked.add({one.id: one.published for one in found.values()})
        return ack_ids

    def postpone(self, leases: Iterable[Hashable], due: float) -> None:
        """Count an attempt, and hand out again from then on; the lease of this hand-out has no effect any more."""
        for lease in cast("Iterable[int]", leases):
            if lease in self._deliveries:
                again = self._renew(lease, 1)
                heapq.heappush(self._delayed, (due, cast("int", again.lease), again))

    def put_back(self, leases: Iterable[Hashable]) -> None:
        """Make ready again what was handed out last, without counting an attempt, ahead of what is behind it."""
        given = [self._renew(lease, 0) for lease in cast("Iterable[int]", leases) if lease in self._deliveries]
        for one in reversed(given):
            self._make_ready(one)

    def withdraw_ready(self) -> list[str]:
        """Hold no more what is ready; return the ack ids."""
        return self._drop(dict.fromkeys(cast("int", one.lease) for one in self._ready))

    def withdraw_all(self) -> list[str]:
        """Hold nothing any more; return the ack ids, in the order in which the messages came."""
        return self._drop(dict.fromkeys(sorted(self._deliveries)))

    def expire(self, now: float) -> list[int]:
        """Hold no more what has run out; return the leases that have no effect from now on."""
        if now < self._earliest:
            return []
        over = dict.fromkeys(lease for lease, ends in self._ends.items() if ends <= now)
        self._drop(over)
        self._earliest = min(self._ends.values(), default=float("inf"))
        return list(over)

    def due(self, now: float) -> dict[int, str]:
        """Return what is to be extended: leases with their ack ids."""
        soon = now + EXTENDED * self._ack_deadline
        return {lease: self._ack_ids[lease] for lease, ends in self._ends.items() if ends < soon}

    def extended(self, leases: dict[int, str], ends: float) -> None:
        """Note that these last until then; what was received anew meanwhile, under another ack id, is none of them."""
        for lease, ack_id in leases.items():
            if self._ack_ids.get(lease) == ack_id:
                self._ends[lease] = ends

    def _drop(self, leases: dict[int, None]) -> list[str]:
        """Hold these no more, whether ready, handed out or waiting."""
        for lease in leases:
            name = self._deliveries.pop(lease).id
            if self._leases[name] == lease:  # else another message has the same id
                del self._leases[name]
            del self._ends[lease]
        if leases:
            self._ready = deque(one for one in self._ready if one.lease not in leases)
            self._ready_bytes = sum(len(one.message.data) for one in self._ready)
            self._delayed = [entry for entry in self._delayed if entry[2].lease not in leases]
            heapq.heapify(self._delayed)
        return [self._ack_ids.pop(lease) for lease in leases]
