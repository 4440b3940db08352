"""The SQL of the SQLite bus: plain functions of one connection, each run inside a transaction of the writer's."""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

from visionbus.messaging.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from visionbus.messaging.message import Message

APPLICATION_ID = 0x76_62_75_73  # "vbus": which SQLite files are ours
FORMAT = 1
PAGE = 8192  # bytes; this, and a longer log, suit messages of 1 kB better than SQLite's defaults (benchmarks/bus.py)
WAL_BYTES = 16 * 2**20
TOPIC_SPAN = 1 << 40  # message numbers a topic has room for
MAX_PARKED = 10_000  # messages of one subscription that may be passed over because another receiver holds their key
LONG_TURN = 0.5  # seconds: whoever was frozen in its turn kept others from extending their leases
COLLECTED_AT_ONCE = 2000  # messages deleted in one transaction


Row = tuple[int, bytes | None, str | None, bytes, float, int]  # message, key, attributes, data, published, attempt


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver's place in the file."""

    id: int  # random: never used twice, not even after a rollback, so that late acks match nothing
    subscription: int
    topic: int
    generation: int = 0  # counts how often others took over what it held

    def next(self) -> Receiver:
        """Return the place it takes after that."""
        return Receiver(secrets.randbits(62), self.subscription, self.topic, self.generation + 1)


class Store:
    """The tables, behind one connection. Times are monotonic seconds, so that a step of the clock changes no lease."""

    def __init__(self, path: Path, *, synchronous: str, busy_timeout: float) -> None:
        self.patient = False  # set by the writer, where nobody's lease is to be taken over
        self._began = 0.0  # monotonic time of the present transaction
        self._db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            self._open(path, synchronous)
        except BaseException:
            self._db.close()
            raise

    def _open(self, path: Path, synchronous: str) -> None:
        execute = self._db.execute
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            if execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                raise ValueError(f"{path} is a database of another program: give the bus a file of its own")
            execute(f"PRAGMA page_size = {PAGE}")  # heeded in an empty file only
            (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise ValueError(f"{path} lies on a file system without shared memory: put the bus on a local disk")
            self._create()
        elif version != FORMAT:
            raise ValueError(
                f"{path} has format {version}, this visionbus reads {FORMAT}: use the visionbus that wrote it"
            )
        execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES // PAGE}")
        execute(f"PRAGMA synchronous = {synchronous}")  # the driver has checked it
        self._notice_restart()

    def _create(self) -> None:
        schema = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
        ours = f"PRAGMA user_version = {FORMAT}; PRAGMA application_id = {APPLICATION_ID};"
        self._db.executescript(f"BEGIN IMMEDIATE; {schema}; INSERT INTO clock VALUES (0); {ours} COMMIT;")  # noqa: S608

    def _notice_restart(self) -> None:
        """After a restart of the machine monotonic time begins anew: nobody holds anything, and nothing is delayed."""
        now = time.monotonic()
        if self._db.execute("SELECT 1 FROM clock WHERE seen > ?", (now,)).fetchone():
            with self.transaction():
                self._db.execute("UPDATE claims SET receiver = NULL, due = 0")
                self._db.execute("DELETE FROM receivers")
                self._db.execute("UPDATE clock SET seen = ?", (now,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write in one transaction, all or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        self._began = time.monotonic()
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._db.close()

    def declare(self, topic: str, subscriptions: Iterable[str], *, create: bool) -> None:
        if create:
            self._db.execute(
                "INSERT INTO topics (id, name, next) SELECT ifnull(max(id), 0) + 1, ?, (ifnull(max(id), 0) + 1) * ? "
                "FROM topics WHERE true ON CONFLICT (name) DO NOTHING",
                (topic, TOPIC_SPAN),
            )
        number, position = self._topic(topic)
        self._db.executemany(
            "INSERT INTO subscriptions (topic, name, position) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(number, name, position) for name in subscriptions],
        )

    def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Append to the log, if anybody is subscribed; return the messages' ids."""
        number, first = self._topic(topic)
        self._db.execute("UPDATE topics SET next = next + ? WHERE id = ?", (len(messages), number))
        ids = range(first, first + len(messages))
        if self._db.execute("SELECT 1 FROM subscriptions WHERE topic = ? LIMIT 1", (number,)).fetchone():
            now = time.time()
            self._db.executemany(
                "INSERT INTO messages (id, key, attributes, data, published) VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        at,
                        None if message.key is None else message.key.encode("utf-8", "surrogateescape"),
                        _json(message.attributes) if message.attributes else None,
                        message.data,
                        now,
                    )
                    for at, message in zip(ids, messages, strict=True)
                ],
            )
        start = first % TOPIC_SPAN
        return list(map(str, range(start, start + len(messages))))

    def attach(self, topic: str, subscription: str, expires: float) -> Receiver:
        number, _ = self._topic(topic)
        row = self._db.execute(
            "SELECT id FROM subscriptions WHERE topic = ? AND name = ?", (number, subscription)
        ).fetchone()
        if row is None:
            raise NotFoundError.undeclared(topic, subscription)
        return self.join(Receiver(secrets.randbits(62), row[0], number), expires)

    def join(self, receiver: Receiver, expires: float) -> Receiver:
        self._see()
        self._db.execute(
            "INSERT INTO receivers (id, subscription, expires) VALUES (?, ?, ?)",
            (receiver.id, receiver.subscription, expires),
        )
        return receiver

    def renew(self, receiver: Receiver, expires: float) -> Receiver:
        """Extend a receiver's lease; where others took over what it held, enter it anew."""
        self._see()
        if self._db.execute("UPDATE receivers SET expires = ? WHERE id = ?", (expires, receiver.id)).rowcount:
            return receiver
        return self.join(receiver.next(), expires)

    def is_member(self, receiver: Receiver) -> bool:
        """Return whether nobody has taken over what a receiver holds."""
        return self._db.execute("SELECT 1 FROM receivers WHERE id = ?", (receiver.id,)).fetchone() is not None

    def leave(self, receiver: Receiver) -> None:
        """Give back all that a receiver holds, and forget it."""
        self._give_back(receiver.subscription, receiver.id)
        self._collect(receiver.topic)

    def has_work(self, receiver: Receiver) -> bool:
        """Return whether a claim is worth a transaction; reads without one."""
        now = time.monotonic()
        return bool(
            self._db.execute(
                "SELECT EXISTS (SELECT 1 FROM messages m, subscriptions s"
                "   WHERE s.id = :s AND m.id >= s.position AND m.id < :end)"
                " OR EXISTS (SELECT 1 FROM claims WHERE subscription = :s AND receiver IS NULL AND due <= :now)"
                " OR EXISTS (SELECT 1 FROM receivers WHERE subscription = :s AND id <> :r AND expires < :now)",
                {
                    "s": receiver.subscription,
                    "r": receiver.id,
                    "now": now,
                    "end": (receiver.topic + 1) * TOPIC_SPAN,
                },
            ).fetchone()[0]
        )

    def next_change(self, receiver: Receiver) -> float | None:
        """Return the monotonic time at which messages may become free by themselves."""
        (when,) = self._db.execute(
            "SELECT min(t) FROM (SELECT min(due) AS t FROM claims"
            "   WHERE subscription = :s AND receiver IS NULL AND due > :now"
            " UNION ALL SELECT min(expires) FROM receivers WHERE subscription = :s AND id <> :r)",
            {"s": receiver.subscription, "r": receiver.id, "now": time.monotonic()},
        ).fetchone()
        return when  # type: ignore[no-any-return]

    def claim(self, receiver: Receiver, room: int) -> list[Row]:
        """Hand out at most `room` messages, oldest first, none whose key another receiver holds."""
        if not self.patient and time.monotonic() - self._began < LONG_TURN:
            self._take_over(receiver)
        rows = self._claim_waiting(receiver, room)
        if len(rows) < room:
            rows += self._claim_fresh(receiver, room - len(rows))
        return rows

    def ack(self, receiver: Receiver, messages: Iterable[int]) -> None:
        """Delete the claims of a receiver; a run of neighbours is one statement."""
        for first, last in _runs(messages):
            self._db.execute(
                "DELETE FROM claims WHERE subscription = ? AND message BETWEEN ? AND ? AND receiver = ?",
                (receiver.subscription, first, last, receiver.id),
            )
        self._collect(receiver.topic)

    def give_back(self, receiver: Receiver, messages: Iterable[int], due: float, attempts: int) -> None:
        """Let messages of a receiver wait until `due`, and count so many attempts more."""
        self._see()
        self._db.executemany(
            "UPDATE claims SET receiver = NULL, due = ?, attempt = attempt + ? "
            "WHERE subscription = ? AND message = ? AND receiver = ?",
            [(due, attempts, receiver.subscription, message, receiver.id) for message in messages],
        )

    def _see(self) -> None:
        """Note the time: without it no time in the file lies further ahead than a lease or a delay."""
        self._db.execute("UPDATE clock SET seen = max(seen, ?)", (time.monotonic(),))

    def _topic(self, topic: str) -> tuple[int, int]:
        row: tuple[int, int] | None = self._db.execute(
            "SELECT id, next FROM topics WHERE name = ?", (topic,)
        ).fetchone()
        if row is None:
            raise NotFoundError.undeclared(topic)
        return row

    def _take_over(self, receiver: Receiver) -> None:
        expired = self._db.execute(
            "SELECT id FROM receivers WHERE subscription = ? AND id <> ? AND expires < ?",
            (receiver.subscription, receiver.id, time.monotonic()),
        )
        for (other,) in expired.fetchall():
            self._give_back(receiver.subscription, other)

    def _give_back(self, subscription: int, receiver: int) -> None:
        self._db.execute(
            "UPDATE claims SET receiver = NULL, due = 0 WHERE subscription = ? AND receiver = ?",
            (subscription, receiver),
        )
        self._db.execute("DELETE FROM receivers WHERE id = ?", (receiver,))

    def _claim_waiting(self, receiver: Receiver, room: int) -> list[Row]:
        waiting = self._db.execute(
            "SELECT m.id, m.key, m.attributes, m.data, m.published, c.attempt"
            " FROM claims c JOIN messages m ON m.id = c.message"
            " WHERE c.subscription = :s AND c.receiver IS NULL AND c.due <= :now AND (c.key IS NULL OR c.key NOT IN ("
            "   SELECT key FROM claims WHERE subscription = :s AND receiver <> :r AND key IS NOT NULL))"
            " ORDER BY c.message LIMIT :room",
            {"s": receiver.subscription, "r": receiver.id, "now": time.monotonic(), "room": room},
        ).fetchall()
        self._db.executemany(
            "UPDATE claims SET receiver = ? WHERE subscription = ? AND message = ?",
            [(receiver.id, receiver.subscription, row[0]) for row in waiting],
        )
        return waiting

    def _claim_fresh(self, receiver: Receiver, room: int) -> list[Row]:
        """Move the position on; what is passed over because of its key is parked, to wait behind it."""
        claimed: list[Row] = []
        (position,) = self._db.execute(
            "SELECT position FROM subscriptions WHERE id = ?", (receiver.subscription,)
        ).fetchone()
        start = position
        parked = self._count_parked(receiver)
        while room > 0 and parked < MAX_PARKED and (rows := self._fresh(receiver.topic, position, room)):
            position = rows[-1][0] + 1
            blocked = self._keys_of_others(receiver) if any(row[1] is not None for row in rows) else set()
            self._insert_claims(receiver, rows, blocked)
            free = [row for row in rows if row[1] not in blocked]
            claimed += free
            room -= len(free)
            parked += len(rows) - len(free)
        if position != start:
            self._db.execute("UPDATE subscriptions SET position = ? WHERE id = ?", (position, receiver.subscription))
        return claimed

    def _fresh(self, topic: int, position: int, room: int) -> list[Row]:
        return self._db.execute(
            "SELECT id, key, attributes, data, published, 1 FROM messages WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (position, (topic + 1) * TOPIC_SPAN, room),
        ).fetchall()

    def _insert_claims(self, receiver: Receiver, rows: Sequence[Row], blocked: set[bytes | None]) -> None:
        self._db.executemany(
            "INSERT INTO claims (subscription, message, receiver, attempt, due, key) VALUES (?, ?, ?, 1, 0, ?)",
            [(receiver.subscription, row[0], None if row[1] in blocked else receiver.id, row[1]) for row in rows],
        )

    def _keys_of_others(self, receiver: Receiver) -> set[bytes | None]:
        held = self._db.execute(
            "SELECT DISTINCT key FROM claims WHERE subscription = ? AND key IS NOT NULL AND receiver <> ?",
            (receiver.subscription, receiver.id),
        )
        return {key for (key,) in held}

    def _count_parked(self, receiver: Receiver) -> int:
        """Count what is due and yet waits, after all that may be claimed has been."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM claims WHERE subscription = ? AND receiver IS NULL AND due <= ?",
            (receiver.subscription, time.monotonic()),
        ).fetchone()
        return int(count)

    def _collect(self, topic: int) -> None:
        """Delete what every subscription of the topic has acked, the oldest first, some at a time."""
        (low,) = self._db.execute(
            "SELECT min(ifnull((SELECT min(message) FROM claims WHERE subscription = s.id), s.position))"
            " FROM subscriptions s WHERE s.topic = ?",
            (topic,),
        ).fetchone()
        (first,) = self._db.execute(
            "SELECT min(id) FROM messages WHERE id >= ? AND id < ?", (topic * TOPIC_SPAN, (topic + 1) * TOPIC_SPAN)
        ).fetchone()
        if first is not None and first < low:
            self._db.execute(
                "DELETE FROM messages WHERE id >= ? AND id < ?", (first, min(low, first + COLLECTED_AT_ONCE))
            )


def _json(attributes: Mapping[str, str]) -> str:
    """Return a JSON object of texts; json.dumps sets up an encoder each time, and senders make many."""
    return "{" + ",".join([f"{quoted(name)}:{quoted(value)}" for name, value in attributes.items()]) + "}"


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Give the first and last of each run of neighbours."""
    first = last = None
    for number in sorted(numbers):
        if last is None or number > last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
