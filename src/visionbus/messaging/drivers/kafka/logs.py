"""What librdkafka says, for Python's logging."""

from __future__ import annotations

import logging
import re
import threading
import time

log = logging.getLogger("visionbus.messaging.drivers.kafka")

QUIET = 30.0  # seconds that a repeated line is left out
_REMEMBERED = 100  # lines
_IN_PASSING = ("FAIL", "GETPID")


class ClientLog:
    """The `logger` of a librdkafka client.

    While all brokers are away librdkafka tries them again and again, and reports each failure as an error: of such
    lines one in 30 seconds is passed on. What it says of single connections and of its producer's id, which it gets
    over by itself or which is raised as an error, is told as information.
    """

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # line: when it was passed on
        self._lock = threading.Lock()

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Take a line; from any thread that polls a client."""
        if arguments and arguments[0] in _IN_PASSING:
            level = min(level, logging.INFO)
        if not log.isEnabledFor(level):
            return
        if level > logging.DEBUG and self._repeated(message % arguments):
            return
        log.log(level, message, *arguments)

    def _repeated(self, line: str) -> bool:
        line = re.sub(r" \(after \d+ms .*", "", line)
        now = time.monotonic()
        with self._lock:
            if now - self._said.get(line, -QUIET) < QUIET:
                return True
            self._said.pop(line, None)
            self._said[line] = now
            if len(self._said) > _REMEMBERED:
                del self._said[next(iter(self._said))]
            return False
