"""AckedIds: the messages that were acked last, of which Pub/Sub may bring some again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

REMEMBERED = 10_000  # at least, and at most twice as many


class AckedIds:
    """Message ids of one subscription, the oldest of which are forgotten.

    Behind a redelivered message of a key Pub/Sub also redelivers later ones of that key, acked or not; and an ack that
    came too late for its lease changes nothing there. Two sets take turns: whatever is newest is kept, at the price of
    one insertion an ack.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._young: set[str] = set()
        self._old: set[str] = set()

    def among(self, names: Sequence[str]) -> set[str]:
        """Return those of these that were acked."""
        if self._young.isdisjoint(names) and self._old.isdisjoint(names):  # nearly always: in two calls, not many
            return set()
        return self._young.intersection(names) | self._old.intersection(names)

    def __len__(self) -> int:
        return len(self._young | self._old)

    def add(self, names: Collection[str]) -> None:
        """Remember these."""
        self._young.update(names)
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, set()
