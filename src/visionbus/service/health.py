"""Whether a worker is alive: by its progress, since one that hangs in native code still answers any ping."""

from __future__ import annotations


class Progress:
    """Watches a count that grows with each beginning and end of work; times are monotonic seconds.

    A worker is stuck when it has had work in process for `limit` seconds without the count moving.
    """

    def __init__(self, limit: float) -> None:
        """Raise `ValueError` unless `limit` is more than 0."""
        if not limit > 0:
            raise ValueError(f"a limit of {limit} s; it must be more than 0")
        self._limit = limit
        self._count = -1
        self._since = 0.0

    def observe(self, count: int, now: float, *, busy: bool) -> bool:
        """Note the count, and return whether the worker is stuck; `busy`: something is in process."""
        if count != self._count or not busy:
            self._count = count
            self._since = now
        return now - self._since >= self._limit
