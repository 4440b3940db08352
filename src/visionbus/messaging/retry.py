"""Retry: how often a message is attempted, and how far apart, before it becomes a dead letter."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """How many attempts a message gets, and the growing delays between them, in seconds.

    `max_attempts` is 1 to 99. The second attempt comes `delay` seconds after the nack; each later delay is `factor`
    times the one before, at most `max_delay`. Raises `ValueError` for values out of range.
    """

    max_attempts: int = 5
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 99:
            raise ValueError(f"max_attempts is {self.max_attempts}; it must be 1 to 99")
        for name, least in (("delay", 0.0), ("factor", 1.0), ("max_delay", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{name} is {value}; it must be a finite number of at least {least:g}")

    def delay_after(self, attempt: int) -> float:
        """Return the seconds between the nack of an attempt (counted from 1) and the next one."""
        try:
            grown = self.delay * self.factor ** (attempt - 1)
        except OverflowError:
            return self.max_delay if self.delay else 0.0
        return min(grown, self.max_delay)

    def is_last(self, attempt: int) -> bool:
        """Return whether this attempt is the last."""
        return attempt >= self.max_attempts
