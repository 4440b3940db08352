"""A Message as a PubsubMessage, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.pubsub_v1 import types

from visionbus.messaging.message import (
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_VALUE_BYTES,
    OWN_PREFIX,
    Message,
    delivery,
    received_message,
)

if TYPE_CHECKING:
    from visionbus.messaging.message import Delivery

PublishRequest = types.PublishRequest.pb()  # protobuf's own class: the package's wrapper costs several times as much
EMPTY = OWN_PREFIX + "empty"  # Pub/Sub refuses a message without data and attributes: it gets this one
MAX_ATTRIBUTES = 100
_SURELY_SHORT = MAX_NAME_BYTES  # characters of a name or value that nobody needs to look at more closely
_ODD = frozenset({"", "goog"})


def check_carried(message: Message) -> None:
    """Raise `ValueError` for a message that was received from others and that Pub/Sub cannot carry."""
    attributes = message.attributes
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"Pub/Sub cannot carry {len(attributes)} attributes, but {MAX_ATTRIBUTES}")
    for name, value in attributes.items():
        if not (len(name) <= _SURELY_SHORT >= len(value) and name.isascii() and value.isascii()) or name[:4] in _ODD:
            _check_attribute(name, value)
    if message.key and not (message.key.isascii() and len(message.key) <= MAX_KEY_BYTES):
        _check_text("the key", message.key, MAX_KEY_BYTES)


def encoded(message: Message) -> bytes:
    """Return the protobuf serialisation of a PublishRequest that has this message alone, and no topic.

    What protobuf says of repeated fields makes it useful: such serialisations one after the other are that of one
    request with all their messages.
    """
    request = PublishRequest()
    there = request.messages.add()  # filled bit by bit: by keywords it takes a third longer
    there.data = message.data
    if message.key:
        there.ordering_key = message.key
    attributes = there.attributes
    for name, value in message.attributes.items():
        attributes[name] = value
    if not (message.data or message.attributes):
        attributes[EMPTY] = "1"
    data: bytes = request.SerializeToString()
    return data


def message_of(received: Any) -> Message:  # noqa: ANN401 (the same)
    """Return the message that a protobuf PubsubMessage holds, whoever published it."""
    found = received.attributes
    attributes = {}
    for name in found:  # the half of all: items() of protobuf takes twice as long, a comprehension a sixth more
        attributes[name] = found[name]
    data = received.data
    if not data:
        attributes.pop(EMPTY, None)
    return received_message(data, received.ordering_key, attributes)


def published(received: Any) -> datetime:  # noqa: ANN401 (the same)
    """Return when Pub/Sub took a protobuf PubsubMessage."""
    time = received.publish_time
    return _time(time.seconds, time.nanos)


def delivery_of(received: Any, name: str, attempt: int, lease: object) -> Delivery:  # noqa: ANN401 (the same)
    """Return the delivery of a protobuf PubsubMessage, whose id is `name`."""
    return delivery(message_of(received), name, published(received), attempt, lease)


@lru_cache(maxsize=64)  # what was published together has the same time
def _time(seconds: int, nanos: int) -> datetime:
    return datetime.fromtimestamp(seconds + nanos / 1e9, UTC)


def _check_attribute(name: str, value: str) -> None:
    if not name or name.startswith("goog"):
        raise ValueError(f"Pub/Sub cannot carry an attribute called {name[:40]!r}: it is empty, or begins with goog")
    _check_text("an attribute's name", name, MAX_NAME_BYTES)
    _check_text(f"the value of the attribute {name[:40]!r}", value, MAX_VALUE_BYTES)


def _check_text(what: str, text: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"Pub/Sub cannot carry text that is not Unicode: {what}") from None
    if size > limit:
        raise ValueError(f"Pub/Sub cannot carry {what}: it has {size:,} bytes, more than {limit:,}")
