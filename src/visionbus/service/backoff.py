"""How long to wait before a process that died is started again."""

from __future__ import annotations

_FIRST = 0.1  # seconds
_FACTOR = 2.0
_LONGEST = 10.0


class Backoff:
    """Delays that double with each death in a row, 0.1 to 10 s, and begin anew after a sign of health."""

    def __init__(self) -> None:
        self._next = _FIRST

    def after_death(self, *, healthy: bool) -> float:
        """Return the delay in seconds; `healthy`: it did some work before."""
        delay = _FIRST if healthy else self._next
        self._next = min(delay * _FACTOR, _LONGEST)
        return delay
