"""How many requests a worker takes at a time."""

from __future__ import annotations

MAX_BATCH = 1024  # images
_SECONDS = 0.25  # that a batch may take: what is held back from other workers, and lost with a killed one, stays small
_BYTES = 16 * 2**20  # of a batch's requests
_WEIGHT = 0.3  # of the newest batch in the running means


class BatchSize:
    """The number for the next batch: `most`, unless images are so slow or so large that fewer are better.

    `seconds` is what one image is expected to take, to begin with.
    """

    def __init__(self, most: int, seconds: float = 0.0) -> None:
        """Raise `ValueError` unless `most` is 1 to 1,024."""
        if not 1 <= most <= MAX_BATCH:
            raise ValueError(f"a batch of {most} images; it must be 1 to {MAX_BATCH}")
        self._most = most
        self._seconds = seconds
        self._bytes = 0.0

    def observe(self, images: int, size: int, seconds: float) -> None:
        """Learn from a batch: how many images of how many bytes together took how long."""
        self._seconds += _WEIGHT * (seconds / images - self._seconds)
        self._bytes += _WEIGHT * (size / images - self._bytes)

    @property
    def now(self) -> int:
        """From 1 to `most`."""
        room = float(self._most)
        if self._seconds > 0:
            room = min(room, _SECONDS / self._seconds)
        if self._bytes > 0:
            room = min(room, _BYTES / self._bytes)
        return max(1, int(room))
