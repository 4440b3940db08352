"""Pauses: the partitions that are not to be read now, so that rebalances are served without reading more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Consumer

    from visionbus.messaging.drivers.kafka.holding import Holding
    from visionbus.messaging.drivers.kafka.liveness import Liveness

STARVED = (0.5, 5.0)  # seconds without room after which all pause: doubled each time, as it throws away what was read


class Pauses:
    """Of one receiver, used in the thread that owns its consumer."""

    def __init__(self, topic: str, holding: Holding, liveness: Liveness) -> None:
        self._topic = topic
        self._holding = holding
        self._liveness = liveness
        self._paused: set[int] = set()
        self._full_since = float("inf")
        self._starved_after = STARVED[0]
        self._starving = False  # paused for want of room

    def starved(self, room: int) -> bool:
        """Return whether there has been no room for so long that rebalances must be served without reading."""
        now = time.monotonic()
        if room > 0:
            self._full_since = float("inf")
            self._starving = False
        elif not self._starving:
            self._full_since = min(self._full_since, now)
            if now - self._full_since > self._starved_after:
                self._starving = True
                self._starved_after = min(self._starved_after * 2, STARVED[1])
        return self._starving

    def bring_about(self, client: Consumer, *, everything: bool) -> bool:
        """Pause what is not to be read now, and resume the rest; return whether that could be brought about."""
        wanted = self._holding.numbers() if everything else self._holding.blocked(self._paused)
        if wanted != self._paused:
            if not self._liveness.answers(client):
                return False
            client.pause(self._partitions(wanted - self._paused))
            client.resume(self._partitions((self._paused - wanted) & self._holding.numbers()))
            self._paused = wanted
        return True

    def forget(self, numbers: set[int]) -> None:
        """Take it that these are read again, or are not ours any more."""
        self._paused -= numbers

    def _partitions(self, numbers: set[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]
