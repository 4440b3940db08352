"""Dead letters: a message that was given up, with the reason and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visionbus.messaging.message import MAX_VALUE_BYTES, OWN_PREFIX, delivery, received_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visionbus.messaging.message import Delivery, Message

REASON = OWN_PREFIX + "reason"
SOURCE_TOPIC = OWN_PREFIX + "source-topic"
SOURCE_SUBSCRIPTION = OWN_PREFIX + "source-subscription"
SOURCE_ID = OWN_PREFIX + "source-id"
ATTEMPTS = OWN_PREFIX + "attempts"
PUBLISHED = OWN_PREFIX + "published"


def dead_letter(delivery: Delivery, topic: str, subscription: str, reason: str) -> Message:
    """Return the dead letter of a delivery: its data, key and attributes, and six more attributes.

    The reason is cut to 1,024 bytes of UTF-8; `visionbus-published` is the original's time in ISO 8601.
    """
    message = delivery.message
    attributes = {
        **without_own(message.attributes),
        REASON: reason.encode(errors="replace")[:MAX_VALUE_BYTES].decode(errors="ignore"),
        SOURCE_TOPIC: topic,
        SOURCE_SUBSCRIPTION: subscription,
        SOURCE_ID: delivery.id,
        ATTEMPTS: str(delivery.attempt),
        PUBLISHED: delivery.published.isoformat(),
    }
    return received_message(message.data, message.key, attributes)


def original(letter: Message) -> Message:
    """Return the message that a dead letter was made from, to be sent again."""
    return received_message(letter.data, letter.key, without_own(letter.attributes))


def without_own(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes without those the bus adds for itself."""
    return {name: value for name, value in attributes.items() if not name.startswith(OWN_PREFIX)}


def stripped(one: Delivery) -> Delivery:
    """Return a delivery without the attributes the bus adds for itself; the same one if it has none."""
    message = one.message
    for name in message.attributes:
        if name.startswith(OWN_PREFIX):
            break
    else:  # by a plain loop, as this is done for every message
        return one
    plain = received_message(message.data, message.key, without_own(message.attributes))
    return delivery(plain, one.id, one.published, one.attempt, one.lease)
