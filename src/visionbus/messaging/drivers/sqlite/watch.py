"""Waking those who wait for messages when the file has changed."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKING_TIME = 0.01  # seconds between two looks for other processes' writes, while somebody waits


class Watch:
    """Wakes at once for what this process writes, and for others by a cheap look at `PRAGMA data_version`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: set[asyncio.Event] = set()
        self._db: sqlite3.Connection | None = None
        self._version: object = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        for event in self._waiting:
            event.set()

    @contextmanager
    def watching(self, event: asyncio.Event) -> Iterator[None]:
        """Set `event` at each change in this block: begin it before the look that is to be repeated."""
        self._waiting.add(event)
        if self._timer is None:
            self._look()
        try:
            yield
        finally:
            self._waiting.discard(event)

    def _look(self) -> None:
        """Look once, and again in a few milliseconds as long as somebody waits."""
        self._timer = None
        if not self._waiting:
            return
        try:
            if self._db is None:
                self._db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            version = self._db.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:  # busy, or gone: the claim that follows tells
            version = None
        if version is None or version != self._version:
            self._version = version
            self.tell()
        self._timer = asyncio.get_running_loop().call_later(LOOKING_TIME, self._look)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._db:
            self._db.close()
