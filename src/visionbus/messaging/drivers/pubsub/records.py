"""A Message as a PubsubMessage, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.pubsub_v1 import types

from visionbus.messaging.message import OWN_PREFIX, Message, delivery, received_message

if TYPE_CHECKING:
    from visionbus.messaging.message import Delivery

PubsubMessage = types.PubsubMessage.pb()  # the protobuf classes: the package's own wrappers cost several times as much
EMPTY = OWN_PREFIX + "empty"  # Pub/Sub refuses a message without data and attributes: it gets this one
MAX_ATTRIBUTES = 100
_SURELY_SHORT = 64  # characters: at most 256 bytes


def pubsub_message(message: Message) -> Any:  # noqa: ANN401 (a protobuf message, which has no types)
    """Return the protobuf message; `ValueError` for what was received from others and Pub/Sub cannot carry."""
    attributes = message.attributes
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"Pub/Sub cannot carry {len(attributes)} attributes, but {MAX_ATTRIBUTES}")
    for name, value in attributes.items():
        if len(name) > _SURELY_SHORT or len(value) > _SURELY_SHORT or name[:4] == "goog" or not name:
            _check_attribute(name, value)
    if not message.data and not attributes:
        attributes = {EMPTY: "1"}
    try:
        return PubsubMessage(data=message.data, attributes=attributes, ordering_key=message.key or "")
    except UnicodeEncodeError as error:
        raise ValueError(f"Pub/Sub cannot carry text that is not Unicode: {error.object!r}") from None


def message_of(received: Any) -> Message:  # noqa: ANN401 (the same)
    """Return the message that a protobuf PubsubMessage holds, whoever published it."""
    attributes = dict(received.attributes.items())
    data = received.data
    if not data:
        attributes.pop(EMPTY, None)
    return received_message(data, received.ordering_key, attributes)


def delivery_of(received: Any, attempt: int, lease: object) -> Delivery:  # noqa: ANN401 (the same)
    """Return the delivery of a protobuf ReceivedMessage."""
    message = received.message
    time = message.publish_time
    published = datetime.fromtimestamp(time.seconds + time.nanos / 1e9, UTC)
    return delivery(message_of(message), message.message_id, published, attempt, lease)


def _check_attribute(name: str, value: str) -> None:
    if not 1 <= len(name.encode(errors="replace")) <= 256 or name.startswith("goog"):
        raise ValueError(
            f"Pub/Sub cannot carry an attribute called {name[:40]!r}: "
            "names have 1 to 256 bytes and do not begin with goog"
        )
    if len(value.encode(errors="replace")) > 1024:
        raise ValueError(f"Pub/Sub cannot carry attribute {name[:40]!r}: its value has more than 1,024 bytes")
