"""OffsetTracker: which offset of a partition may be committed, whatever the order of the acks."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from visionbus.messaging.drivers.kafka.progress import MAX_METADATA, decode, encode

MAX_UNSETTLED = 1400  # offsets: beyond that a partition waits for its gaps to close ...
MAX_GAPS = 1490  # ... and so many, at most, can the metadata of a commit tell apart
MAX_SPAN = 100_000  # offsets between the first unsettled one and the last received one: more wait on the broker
CROWDED = 7 / 8  # of the metadata that there may be: beyond that a partition waits for its gaps to close

T = TypeVar("T")


class Commit(NamedTuple):
    """What to commit: everything below `offset` is settled, and what `metadata` says beyond it."""

    offset: int
    metadata: str


class OffsetTracker(Generic[T]):
    """What one receiver knows of one partition, from its assignment until it is taken away.

    It counts the offsets really received: compaction, retention and transactions leave gaps, which hold up nothing.
    `unsettled` has what was received and is not settled, by offset, in the order of the partition; whoever settles one
    deletes it there. It does no I/O and no locking.
    """

    __slots__ = ("_ahead", "_committed", "_most", "_next", "crowded", "epoch", "number", "unsettled")

    def __init__(self, number: int, offset: int | None = None, metadata: str | None = None, epoch: int = 0) -> None:
        """Begin where the group's last commit stands; `offset` is None if there is none.

        `epoch` tells this assignment from others, of the same partition too.
        """
        self.number = number
        self.epoch = epoch
        self.unsettled: dict[int, T] = {}
        self.crowded = False  # the last commit could hardly say, or could not say, all that is acked
        self._most = MAX_METADATA  # characters
        self._next = offset  # the offset after the last received one; None: nothing received, nothing committed
        self._ahead = deque(decode(offset, metadata) if offset is not None else ())  # acked by others before us
        self._committed = Commit(offset, metadata or "") if offset is not None else None

    def receive(self, offset: int) -> bool:
        """Note that an offset was received; return whether it is still to be handed out.

        If it is, the caller puts it into `unsettled`. One that was received before, or acked under an earlier
        assignment, is not.
        """
        if self._next is not None and offset < self._next:
            return False
        self._next = offset + 1
        ahead = self._ahead
        while ahead and ahead[0][1] <= offset:
            ahead.popleft()
        return not (ahead and ahead[0][0] <= offset)

    def skip_to(self, offset: int) -> bool:
        """Note that there is nothing any more before this offset; return False if more than that was received."""
        if self._next is not None and offset < self._next:
            return False
        self._next = offset
        while self._ahead and self._ahead[0][1] <= offset:
            self._ahead.popleft()
        return True

    @property
    def span(self) -> int:
        """How many offsets lie between what may be committed and what was received."""
        first = next(iter(self.unsettled), None)
        return 0 if first is None or self._next is None else self._next - first

    def blocked(self, *, already: bool) -> bool:
        """Return whether to stop receiving for now; once it is so, until half of the limit is left (hysteresis)."""
        part = 2 if already else 1
        return self.crowded or len(self.unsettled) >= MAX_UNSETTLED // part or self.span >= MAX_SPAN // part

    def due(self) -> Commit | None:
        """Return what to commit; None if the last commit that was confirmed says it already."""
        commit = self._commit()
        return None if commit == self._committed else commit

    def committed(self, commit: Commit) -> None:
        """Note that the broker confirmed a commit."""
        self._committed = commit

    def refused(self) -> None:
        """Note that the broker takes less metadata: from now on half as much is committed."""
        self._most //= 2

    def _commit(self) -> Commit | None:
        if self._next is None:
            return None
        unsettled = list(self.unsettled)
        base = unsettled[0] if unsettled else self._next
        ranges = _between(unsettled, self._next)
        for start, end in self._ahead:
            if ranges and ranges[-1][1] >= start:
                ranges[-1] = (ranges[-1][0], end)
            elif not unsettled and start <= base:
                base = end
            else:
                ranges.append((start, end))
        metadata, kept = encode(base, ranges, self._most)
        # with a hysteresis: a little below the limit, new gaps would open as fast as old ones close
        limit = self._most * (CROWDED / 2 if self.crowded else CROWDED)
        self.crowded = bool(unsettled) and (kept < len(ranges) or len(metadata) > limit)
        return Commit(base, metadata)


def _between(unsettled: list[int], end: int) -> list[tuple[int, int]]:
    """Return the ranges of settled offsets after the first unsettled one; what was never received counts as settled."""
    return [(one + 1, other) for one, other in pairwise((*unsettled, end)) if one + 1 < other]
