"""Liveness: whether librdkafka's own thread still serves a consumer, asked before anything waits for it.

librdkafka 2.16 locks itself up, once in a great many broken connections: its main thread asks for a leader with a
partition's lock held, while a broker's thread wants that lock (https://github.com/confluentinc/librdkafka/issues/5476).
From then on the consumer gets nothing, and is put out of its group. What is worse: confluent-kafka's `pause`, `resume`,
`subscribe`, `unsubscribe` and `incremental_(un)assign` wait for that thread with the interpreter's lock held, which has
been seen to freeze the whole process, Ctrl-C included. `committed` waits without it, and of no partitions it needs no
broker's answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

if TYPE_CHECKING:
    from confluent_kafka import Consumer

HEAR = 1.0  # seconds that an answer is waited for
LOOK = 10.0  # seconds between two looks
GIVE_UP = 60.0  # seconds without an answer, in which brokers answered others, after which none will come


class Liveness:
    """Of one consumer, used in the thread that owns it, but for `brokers_answer`."""

    def __init__(self) -> None:
        self._reachable_since = float("inf")  # monotonic: brokers have answered other clients since then
        self._reached_at = 0.0  # and did so last
        self.begin()

    def begin(self) -> None:
        """Begin with a new client."""
        self._heard_at = time.monotonic()
        self._look_at = self._heard_at + LOOK

    def brokers_answer(self, *, others: bool) -> None:
        """Take it that brokers do, or do not, answer another client of this process; from any thread."""
        self._reached_at = time.monotonic() if others else 0.0
        if not others:
            self._reachable_since = float("inf")
        elif self._reachable_since == float("inf"):
            self._reachable_since = self._reached_at

    def answers(self, client: Consumer) -> bool:
        """Return whether librdkafka's thread does its work, and knows its group's coordinator."""
        try:
            client.committed([], timeout=HEAR)
        except KafkaException:
            return False
        self._heard_at = time.monotonic()
        return True

    def has_ended(self, client: Consumer) -> bool:
        """Look now and then; return whether it has been silent for so long that a new client is needed."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK
        return not self.answers(client) and self._reached_at - max(self._heard_at, self._reachable_since) > GIVE_UP
