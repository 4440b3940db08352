"""Age: how old may be what a stream brings next."""

from __future__ import annotations


class Age:
    """When the buffers between the broker and the reader of one stream were known to be empty, by the reader's clock.

    The broker counts a lease from when it sent a message, which may lie in buffers until somebody reads: because there
    was no room, because the loop or the process stood still. They are known to have been empty when a read waited
    although the loop turned (`emptied`), and when as many messages were read as may be outstanding. Times are monotonic
    seconds.
    """

    def __init__(self, most: int) -> None:
        """Take how many messages may be outstanding."""
        self.since = 0.0  # what is read next was not sent before
        self.paused = False  # there was a time without room since then
        self._most = most
        self._counted_from = 0.0
        self._count = 0  # messages read since

    def emptied(self, at: float) -> None:
        """Note that there was nothing then."""
        self.since = self._counted_from = at
        self._count = 0
        self.paused = False

    def read(self, messages: int, now: float) -> float:
        """Note that so many were read; return when they were sent at the earliest."""
        since = self.since
        self._count += messages
        if self._count >= self._most and not self.paused:
            self.since, self._counted_from, self._count = self._counted_from, now, 0
        return since
