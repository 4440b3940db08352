"""Send: the messages of one send on their way, and what became of each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visionbus.messaging.errors import MessagingError
    from visionbus.messaging.message import Message


class Send:
    """The messages of one send, on their way."""

    def __init__(self, topic: str, messages: Sequence[Message]) -> None:
        self.topic = topic
        self.messages = messages
        self.ids = [""] * len(messages)
        self.failures: dict[int, MessagingError] = {}
        self.broken: dict[str | None, MessagingError] = {}  # by key: why what is queued later fails, too
        self.given_up: MessagingError | None = None  # why the time of one was over: the rest would wait as long again
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = len(messages)

    def hopeless(self, key: str | None) -> MessagingError | None:
        """Return why a message of this key that is not queued yet need not be tried, if that is so."""
        return self.given_up or self.broken.get(key)

    def confirm(self, index: int, name: str) -> None:
        """Note the id of a message that Pub/Sub holds."""
        if not self._is_settled(index):
            self.ids[index] = name
            self._settled()

    def fail(self, index: int, error: MessagingError) -> None:
        """Note why a message is not confirmed."""
        if not self._is_settled(index):
            self.failures[index] = error
            self._settled()

    def _is_settled(self, index: int) -> bool:
        return bool(self.ids[index]) or index in self.failures

    def _settled(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


class Item(NamedTuple):
    """One message on its way."""

    send: Send
    at: int  # its place in the send
    data: bytes  # a request with this message alone: several of them, one after the other, are a request with all
    ends: float  # monotonic seconds when it is given up
