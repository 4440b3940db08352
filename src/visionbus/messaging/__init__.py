"""Send and receive messages, the same over every broker; see `docs/messaging.md`."""

from visionbus.messaging.blocking import BlockingBus, BlockingSubscription, connect_blocking
from visionbus.messaging.bus import Bus, connect
from visionbus.messaging.errors import (
    AccessError,
    ClosedError,
    MessagingError,
    MissingExtraError,
    NotFoundError,
    SendError,
    TooLargeError,
    UnavailableError,
)
from visionbus.messaging.message import Delivery, Message
from visionbus.messaging.retry import Retry
from visionbus.messaging.subscription import Subscription

__all__ = [
    "AccessError",
    "BlockingBus",
    "BlockingSubscription",
    "Bus",
    "ClosedError",
    "Delivery",
    "Message",
    "MessagingError",
    "MissingExtraError",
    "NotFoundError",
    "Retry",
    "SendError",
    "Subscription",
    "TooLargeError",
    "UnavailableError",
    "connect",
    "connect_blocking",
]
