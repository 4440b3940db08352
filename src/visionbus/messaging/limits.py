"""What a receiver may take: how long, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and a count; `ValueError` for values out of range."""

    ack_deadline: float
    max_lease: float
    max_in_flight: int

    def __post_init__(self) -> None:
        if not 1 <= self.ack_deadline <= 600:
            raise ValueError(f"ack_deadline is {self.ack_deadline}; it must be 1 to 600 seconds")
        if not self.max_lease > 0:
            raise ValueError(f"max_lease is {self.max_lease}; it must be more than 0 seconds")
        if self.max_in_flight < 1:
            raise ValueError(f"max_in_flight is {self.max_in_flight}; it must be at least 1")
