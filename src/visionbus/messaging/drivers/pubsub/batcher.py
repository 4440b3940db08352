"""Batcher: which messages go together in one request, and when, without doing it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

MAX_COUNT = 1000  # messages in one request: Pub/Sub's limit
MAX_BYTES = 9_900_000  # of messages in one request: Pub/Sub's limit of 10 MB, less what else a request says
UNKEYED = 4  # requests of one topic on their way at once: more of them would be smaller ones


class Lane(NamedTuple):
    """What goes together: messages of one topic that have the same key, or none."""

    topic: str
    key: str | None


class Batch(NamedTuple, Generic[T]):
    """The items of one request, and their bytes."""

    lane: Lane
    items: list[T]
    size: int


@dataclass(slots=True)
class _Queue(Generic[T]):
    items: deque[tuple[T, int]] = field(default_factory=deque)
    size: int = 0
    under_way: int = 0  # batches that were taken and are not done
    is_ready: bool = False
    due: float | None = None  # when its first item has lingered


class Batcher(Generic[T]):
    """Queues of items by lane. Of a lane with a key one batch is on its way at a time, so that its order is kept.

    Pub/Sub wants one key, or none, in one request. Lanes take turns. It reads no clock: `now` is monotonic seconds.
    """

    def __init__(self, linger: float = 0.0, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self._linger = linger
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._queues: dict[Lane, _Queue[T]] = {}
        self._ready: deque[Lane] = deque()
        self._lingering: dict[Lane, None] = {}  # by the time when they have lingered

    def add(self, lane: Lane, items: Iterable[tuple[T, int]], now: float) -> None:
        """Queue items, each with its size in bytes, which is at most `max_bytes`."""
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = _Queue()
        for item in items:
            queue.items.append(item)
            queue.size += item[1]
        if self._may_go(lane, queue):
            self._linger_or_go(lane, queue, now)

    def take(self, now: float) -> Batch[T] | None:
        """Return a batch that is to go now, oldest lanes first; None if there is none."""
        while self._lingering:
            lane = next(iter(self._lingering))
            queue = self._queues[lane]
            if queue.due is None or queue.due > now:
                break
            self._make_ready(lane, queue)
        if not self._ready:
            return None
        lane = self._ready.popleft()
        queue = self._queues[lane]
        queue.is_ready = False
        items, size = self._cut(queue)
        queue.under_way += 1
        if self._may_go(lane, queue):
            self._make_ready(lane, queue)
        return Batch(lane, items, size)

    def done(self, lane: Lane) -> None:
        """Note that a batch is no longer on its way, whatever became of it."""
        queue = self._queues[lane]
        queue.under_way -= 1
        if self._may_go(lane, queue) and queue.due is None:
            self._make_ready(lane, queue)  # it has waited for this one: that was lingering enough
        elif not (queue.items or queue.under_way):
            del self._queues[lane]

    def drop(self, lane: Lane) -> list[tuple[T, int]]:
        """Return all that is queued in a lane, which is queued no more, in order, each with its size."""
        queue = self._queues.get(lane)
        if queue is None:
            return []
        dropped = list(queue.items)
        queue.items.clear()
        queue.size = 0
        queue.due = None
        self._lingering.pop(lane, None)
        if queue.is_ready:
            queue.is_ready = False
            self._ready.remove(lane)
        if not queue.under_way:
            del self._queues[lane]
        return dropped

    def lanes(self) -> list[Lane]:
        """Return the lanes that have something queued or on its way."""
        return list(self._queues)

    def next_due(self) -> float | None:
        """Return when the next batch will have lingered; None if none lingers."""
        for lane in self._lingering:
            return self._queues[lane].due
        return None

    def _may_go(self, lane: Lane, queue: _Queue[T]) -> bool:
        return bool(queue.items) and not queue.is_ready and queue.under_way < (UNKEYED if lane.key is None else 1)

    def _linger_or_go(self, lane: Lane, queue: _Queue[T], now: float) -> None:
        if not self._linger or len(queue.items) >= self._max_count or queue.size >= self._max_bytes:
            self._make_ready(lane, queue)
        elif queue.due is None:
            queue.due = now + self._linger
            self._lingering[lane] = None

    def _make_ready(self, lane: Lane, queue: _Queue[T]) -> None:
        self._lingering.pop(lane, None)
        queue.due = None
        queue.is_ready = True
        self._ready.append(lane)

    def _cut(self, queue: _Queue[T]) -> tuple[list[T], int]:
        taken: list[T] = []
        size = 0
        items = queue.items
        while items and len(taken) < self._max_count and size + items[0][1] <= self._max_bytes:
            item, its = items.popleft()
            taken.append(item)
            size += its
        queue.size -= size
        return taken, size
