"""AckedIds: the messages that were acked last, of which Pub/Sub may bring some again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

REMEMBERED = 10_000  # at least, and about twice as many at most


class AckedIds:
    """Message ids of one subscription, with when each was published; the oldest are forgotten.

    Pub/Sub never gives an id twice, but the emulator counts from 1 again when it is restarted: what has an id that was
    acked, and another time, is another message.

    Behind a redelivered message of a key Pub/Sub also redelivers later ones of that key, acked or not; and an ack that
    came too late for its lease changes nothing there. Two sets take turns: whatever is newest is kept, at the price of
    one insertion an ack.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._young: dict[str, datetime] = {}
        self._old: dict[str, datetime] = {}

    def among(self, names: Sequence[str]) -> dict[str, datetime]:
        """Return those of these that were acked, and when they were published."""
        if self._young.keys().isdisjoint(names) and self._old.keys().isdisjoint(names):  # nearly always: in two calls
            return {}
        return {name: part[name] for part in (self._old, self._young) for name in names if name in part}

    def __len__(self) -> int:
        return len(self._young | self._old)

    def clear(self) -> None:
        """Forget all."""
        self._young.clear()
        self._old.clear()

    def add(self, published: Mapping[str, datetime]) -> None:
        """Remember these ids, with when they were published."""
        self._young.update(published)
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, {}
