"""Messages between those who make them and the one who sends them: bounded in count and in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visionbus.messaging import Message

MAX_MESSAGES = 256  # messages in a batch, and waiting for the next one
MAX_BYTES = 4 * 2**20  # likewise; one message may be larger


class Outbox:
    """A queue that yields batches: at once what is there, and never more than a bus sends well in one go.

    For one producer and one consumer.
    """

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, messages: Iterable[Message]) -> None:
        """Add messages in order, waiting for room."""
        for message in messages:
            if self._is_full():
                async with self._changed:
                    self._changed.notify_all()
                    await self._changed.wait_for(lambda: not self._is_full())
            self._waiting.append(message)
            self._size += message.size
        async with self._changed:
            self._changed.notify_all()

    async def end(self) -> None:
        """Note that nothing more comes."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def take(self) -> list[Message]:
        """Wait for the first message; return the batch that is there, empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._ended)
            batch: list[Message] = []
            size = 0
            while self._waiting and len(batch) < MAX_MESSAGES:
                if batch and size + self._waiting[0].size > MAX_BYTES:
                    break
                message = self._waiting.popleft()
                size += message.size
                batch.append(message)
            self._size -= size
            self._changed.notify_all()
        return batch

    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_MESSAGES or self._size >= MAX_BYTES
