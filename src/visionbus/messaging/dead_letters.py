"""Dead letters: a message that was given up, with the reason and where it came from."""

from __future__ import annotations

import json
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
IN_DATA = OWN_PREFIX + "attributes-in-data"  # how many bytes before the data, where the broker takes no more of them


def dead_letter(
    delivery: Delivery,
    topic: str,
    subscription: str,
    reason: str,
    *,
    with_data: bool = True,
    max_attributes: int | None = None,
) -> Message:
    """Return the dead letter of a delivery: its data, key and attributes, and six more attributes.

    The reason is cut to 1,024 bytes of UTF-8; `visionbus-published` is the original's time in ISO 8601. Without its
    data, `visionbus-data-left-out` says how many bytes that were. Of more than `max_attributes` those that are last by
    name go before the data, as a line of JSON; `visionbus-attributes-in-data` says how many bytes that has.
    """
    message = delivery.message
    told = _told(delivery, topic, subscription, reason)
    data = message.data
    if not with_data:
        told[LEFT_OUT] = str(len(data))
        data = b""
    kept = without_own(message.attributes)
    if max_attributes is not None and len(kept) + len(told) > max_attributes:
        kept, line = _moved(kept, max_attributes - len(told) - 1)
        told[IN_DATA] = str(len(line))
        data = line + data
    return received_message(data, message.key, kept | told)


def original(letter: Message) -> Message:
    """Return the message that a dead letter was made from, to be sent again; `ValueError` if its data was left out."""
    if size := letter.attributes.get(LEFT_OUT):
        told = letter.attributes
        raise ValueError(
            f"the dead letter of {told.get(SOURCE_ID)} came without its {size} bytes of data, which were more than the "
            f"broker took: they are in the topic {told.get(SOURCE_TOPIC)}, for as long as the broker retains them"
        )
    attributes, data = without_own(letter.attributes), letter.data
    if moved := int(letter.attributes.get(IN_DATA, 0)):
        attributes |= json.loads(data[:moved])
        data = data[moved:]
    return received_message(data, letter.key, attributes)


def _told(delivery: Delivery, topic: str, subscription: str, reason: str) -> dict[str, str]:
    return {
        REASON: reason.encode(errors="replace")[:MAX_VALUE_BYTES].decode(errors="ignore"),
        SOURCE_TOPIC: topic,
        SOURCE_SUBSCRIPTION: subscription,
        SOURCE_ID: delivery.id,
        ATTEMPTS: str(delivery.attempt),
        PUBLISHED: delivery.published.isoformat(),
    }


def _moved(attributes: Mapping[str, str], keep: int) -> tuple[dict[str, str], bytes]:
    """Return the first so many attributes by name, and a line of JSON with the others."""
    items = sorted(attributes.items())
    return dict(items[:keep]), json.dumps(dict(items[keep:])).encode() + b"\n"


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
