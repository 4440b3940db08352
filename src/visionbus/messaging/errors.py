"""The errors of messaging, one tree.

    MessagingError
    ├── NotFoundError        the topic or subscription is not declared
    ├── ClosedError          used after close, or before `async with`
    ├── UnavailableError     the broker cannot be reached or cannot write now; trying again later may help
    ├── AccessError          permission denied, by the broker or the file system
    ├── TooLargeError        a message over the size limit (also a ValueError)
    ├── MissingExtraError    the client library of a scheme is not installed (also an ImportError)
    └── SendError            some messages of a send are not confirmed, each for its own reason

Other mistakes of the caller are `ValueError` or `TypeError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visionbus.messaging.message import Message


class MessagingError(Exception):
    """Any failure of the message bus."""


class NotFoundError(MessagingError):
    """The topic or subscription is not declared; `Bus.declare` creates it."""

    @classmethod
    def undeclared(cls, topic: str, subscription: str | None = None) -> Self:
        """Return the error for a topic, or for a subscription of it, that does not exist."""
        what = f"topic {topic!r}" if subscription is None else f"subscription {subscription!r} of topic {topic!r}"
        return cls(f"{what} is not declared: declare it first (Bus.declare, or `visionbus bus declare`)")


class ClosedError(MessagingError):
    """A bus or subscription was used after it was closed, or a subscription before it was entered."""


class UnavailableError(MessagingError):
    """The broker cannot be reached or cannot do this now; the same call may succeed later."""


class AccessError(MessagingError):
    """The broker or the file system does not permit this."""


class TooLargeError(MessagingError, ValueError):
    """A message is over the size limit of the bus; nothing of the call was sent, unless a `SendError` says more."""


class MissingExtraError(MessagingError, ImportError):
    """The client library for a URL's scheme is not installed; the text names the extra to install."""


class SendError(MessagingError):
    """Some messages of one send were not confirmed by the broker.

    `unconfirmed` pairs each of those messages with its reason, in the order they were given. The others are on the
    broker. An unconfirmed message may be there too: sending it again may make it arrive twice.
    """

    def __init__(self, unconfirmed: Sequence[tuple[Message, MessagingError]]) -> None:
        self.unconfirmed = tuple(unconfirmed)
        _, first = self.unconfirmed[0]
        super().__init__(f"{len(self.unconfirmed)} messages are not confirmed, the first because: {first}")


def send_error(failures: Sequence[tuple[Message, MessagingError]], total: int) -> MessagingError:
    """Return what `send` raises: the error itself if all messages failed alike, else one that names each."""
    if len(failures) == total and len({str(error) for _, error in failures}) == 1:
        return failures[0][1]
    return SendError(failures)
