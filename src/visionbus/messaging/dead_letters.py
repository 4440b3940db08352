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
LEFT_OUT = OWN_PREFIX + "data-left-out"  # how many bytes, where the broker takes no dead letter with them


def dead_letter(delivery: Delivery, topic: str, subscription: str, reason: str, *, with_data: bool = True) -> Message:
    """Return the dead letter of a delivery: its data, key and attributes, and six more attributes.

    The reason is cut to 1,024 bytes of UTF-8; `visionbus-published` is the original's time in ISO 8601. Without its
    data, `visionbus-data-left-out` says how many bytes that were.
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
    if with_data:
        return received_message(message.data, message.key, attributes)
    return received_message(b"", message.key, attributes | {LEFT_OUT: str(len(message.data))})


def original(letter: Message) -> Message:
    """Return the message that a dead letter was made from, to be sent again; `ValueError` if its data was left out."""
    if size := letter.attributes.get(LEFT_OUT):
        told = letter.attributes
        raise ValueError(
            f"the dead letter of {told.get(SOURCE_ID)} came without its {size} bytes of data, which were more than the "
            f"broker took: they are in the topic {told.get(SOURCE_TOPIC)}, for as long as the broker retains them"
        )
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
