"""A message that is given up, as a message of its own: what failed, why, and where it came from."""

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
    """Make the dead letter of a delivery: its data, key and attributes, and six attributes more.

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
    """Give back the message that a dead letter was made of, to be sent once more."""
    return received_message(letter.data, letter.key, without_own(letter.attributes))


def without_own(attributes: Mapping[str, str]) -> dict[str, str]:
    """Leave out the attributes that the bus adds for itself."""
    return {name: value for name, value in attributes.items() if not name.startswith(OWN_PREFIX)}


def stripped(one: Delivery) -> Delivery:
    """Give a delivery without the attributes that the bus adds for itself; the same one where it has none."""
    message = one.message
    if not any(name.startswith(OWN_PREFIX) for name in message.attributes):
        return one
    plain = received_message(message.data, message.key, without_own(message.attributes))
    return delivery(plain, one.id, one.published, one.attempt, one.lease)
