"""Leasing: what the service knows of one subscription (messages, keys, leases), after Google's documentation.

Pure: it is told the time. Sources: https://cloud.google.com/pubsub/docs/ordering (a message that comes again brings
all that is behind it in its key, acked or not; a key sticks to a stream while it has messages out), /lease-management,
/flow-control-messages (a stream's limits count what is out on it), /subscription-properties (retention).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count


@dataclass(eq=False)
class Entry:
    """A message of the subscription."""

    message: object  # PubsubMessage
    published: float
    attempt: int = 1
    acked: bool = False  # behind an unacked one of its key: it may come again
    ack_id: str | None = None  # of the lease in force


@dataclass(eq=False)
class Lease:
    entry: Entry
    stream: object
    ends: float


@dataclass(eq=False)
class Key:
    """The messages of a key, from the first unacked one on."""

    entries: list[Entry] = field(default_factory=list)
    next: int = 0  # the first one that is not out
    out: int = 0  # leases
    stream: object = None  # that has them


class Leasing:
    """The state of one subscription; `ordered`: keys mean something."""

    def __init__(self, *, ordered=True, retention=float("inf")):
        self.ordered = ordered
        self.retention = retention
        self.messages_out = Counter()  # by stream
        self.bytes_out = Counter()
        self.most_out = 0  # messages, on all streams together, at any time
        self._waiting = deque()  # entries without a key
        self._keys = {}
        self._ready = {}  # keys with entries that are not out, in the order in which they became so
        self._leases = {}  # by ack id, in the order in which they were made
        self._numbers = count(1)

    def publish(self, message, now):
        entry = Entry(message, now)
        name = message.ordering_key if self.ordered else ""
        if not name:
            self._waiting.append(entry)
            return
        self._keys.setdefault(name, Key()).entries.append(entry)
        self._ready[name] = None

    def deliver(self, stream, now, deadline, messages=100, size=float("inf")):
        """Lease up to so many messages and bytes to a stream for `deadline` seconds; at least one, if there are any."""
        given = []
        for entry in self._choose(stream, messages):
            size -= entry.message.ByteSize()
            if given and size < 0:
                self._put_back(entry)
                continue
            given.append((self._lease(entry, stream, now + deadline), entry))
        self.most_out = max(self.most_out, len(self._leases))
        return given

    def _choose(self, stream, most):
        chosen = []
        for name in list(self._ready):
            key = self._keys[name]
            if key.stream in (None, stream):
                some = key.entries[key.next : key.next + most - len(chosen)]
                key.next += len(some)
                key.out += len(some)
                key.stream = stream if key.out else None
                chosen += some
                if key.next == len(key.entries):
                    del self._ready[name]
            if len(chosen) == most:
                break
        while self._waiting and len(chosen) < most:
            chosen.append(self._waiting.popleft())
        return chosen

    def _put_back(self, entry):
        """Take back what was chosen, and is too much."""
        key = self._key(entry)
        if key is None:
            self._waiting.append(entry)
            return
        key.next = min(key.next, key.entries.index(entry))
        self._free(key)
        self._ready[entry.message.ordering_key] = None

    def _lease(self, entry, stream, ends):
        entry.ack_id = f"ack-{next(self._numbers)}"
        entry.acked = False
        self._leases[entry.ack_id] = Lease(entry, stream, ends)
        self.messages_out[stream] += 1
        self.bytes_out[stream] += entry.message.ByteSize()
        return entry.ack_id

    def ack(self, ack_id, now):
        """Settle, if the lease is in force; otherwise nothing happens, and nobody is told."""
        lease = self._leases.get(ack_id)
        if lease is None or lease.ends <= now:
            return
        self._end(ack_id)
        lease.entry.acked = True
        name = lease.entry.message.ordering_key
        key = self._key(lease.entry)
        while key and key.entries and key.entries[0].acked:
            key.entries.pop(0)
            key.next -= 1
        if key and not key.entries:
            del self._keys[name]
            self._ready.pop(name, None)

    def modify(self, ack_id, now, seconds):
        """Let a lease in force end in so many seconds; 0: have the message again at once."""
        lease = self._leases.get(ack_id)
        if lease is None or lease.ends <= now:
            return
        if seconds:
            lease.ends = now + seconds
        else:
            self._again(ack_id)

    def expire(self, now):
        """Take back what ran out, drop what is too old; return whether there is something new to deliver."""
        over = [ack_id for ack_id, lease in self._leases.items() if lease.ends <= now]
        for ack_id in over:
            if ack_id in self._leases:
                self._again(ack_id)
        while self._waiting and self._waiting[0].published < now - self.retention:
            self._waiting.popleft()
        return bool(over)

    def repeat(self, share, chance):
        """Have this share of what is out again, as the service may at any time; `chance()` gives 0 to 1."""
        for ack_id in list(self._leases):
            if ack_id in self._leases and chance() < share:
                self._again(ack_id)

    def unacked(self):
        """Give the messages that nobody has acked yet."""
        keyed = [entry for key in self._keys.values() for entry in key.entries if not entry.acked]
        leased = [lease.entry for lease in self._leases.values() if self._key(lease.entry) is None]
        return [entry.message for entry in (*self._waiting, *leased, *keyed)]

    def _again(self, ack_id):
        """Have a message again, and all that is behind it in its key."""
        entry = self._end(ack_id).entry
        entry.attempt += 1
        key = self._key(entry)
        if key is None:
            self._waiting.append(entry)
            return
        place = key.entries.index(entry)
        for behind in key.entries[place:]:
            behind.acked = False
            if behind.ack_id:
                self._end(behind.ack_id)
        key.next = place
        self._ready[entry.message.ordering_key] = None

    def _end(self, ack_id):
        lease = self._leases.pop(ack_id)
        lease.entry.ack_id = None
        self.messages_out[lease.stream] -= 1
        self.bytes_out[lease.stream] -= lease.entry.message.ByteSize()
        if not self.messages_out[lease.stream]:
            del self.messages_out[lease.stream], self.bytes_out[lease.stream]
        if key := self._key(lease.entry):
            self._free(key)
        return lease

    def _free(self, key):
        key.out -= 1
        if not key.out:
            key.stream = None

    def _key(self, entry):
        return self._keys.get(entry.message.ordering_key) if self.ordered else None
