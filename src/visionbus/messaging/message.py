"""The values that travel: Message, and Delivery as a receiver gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_ATTRIBUTES = 90  # Pub/Sub's 100, less what a dead letter adds
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = MAX_KEY_BYTES = 1024
OWN_PREFIX = "visionbus-"  # attributes that the bus adds for itself
_RESERVED_PREFIXES = ("goog", "ce_", OWN_PREFIX)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: bytes, an optional key and text attributes.

    Messages with the same key, sent by one sender, arrive in order. Limits are those of the strictest broker, so that a
    program runs on every bus: at most 90 attributes, their names 1 to 256 bytes of UTF-8 that do not begin with `goog`,
    `ce_` or `visionbus-`, their values and the key at most 1,024 bytes. The size of the whole is checked by `Bus.send`.

    Raises `ValueError` or `TypeError` for what no bus would carry. An empty key is no key.
    """

    data: bytes
    key: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise TypeError(f"data is {type(self.data).__name__}; it must be bytes: encode it first")
        attributes = dict(self.attributes)
        if len(attributes) > MAX_ATTRIBUTES:
            raise ValueError(f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES}: put the others into data")
        for name in attributes:
            _check_name(name)
        try:
            text = "".join(("" if self.key is None else self.key, *attributes.values()))
            plain = len(text) <= MAX_VALUE_BYTES and text.isascii()  # as nearly always, told without a call for each
        except TypeError:
            plain = False
        if not plain:
            _check_texts(self.key, attributes)
        if not self.key:
            object.__setattr__(self, "key", None)
        object.__setattr__(self, "attributes", attributes)

    @property
    def size(self) -> int:
        """Bytes of data, key and attributes together, text counted as UTF-8."""
        text = "".join((self.key or "", *self.attributes, *self.attributes.values()))
        return len(self.data) + (len(text) if text.isascii() else _utf8_length(text))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as handed out to a receiver, who must ack, nack or reject it.

    `id` is the broker's name for the message, unique in its topic. `published` is when the broker took it (UTC; Kafka
    with CreateTime: when it was sent). `attempt` is 1 and the earlier hand-outs that ended in a nack or ran out, as far
    as is known.
    """

    message: Message
    id: str
    published: datetime
    attempt: int
    lease: object = field(
        repr=False, compare=False
    )  # opaque: names this hand-out; acks of an earlier one change nothing


class _MessageDraft:
    __slots__ = ("attributes", "data", "key")
    data: bytes
    key: str | None
    attributes: Mapping[str, str]


class _DeliveryDraft:
    __slots__ = ("attempt", "id", "lease", "message", "published")
    message: Message
    id: str
    published: datetime
    attempt: int
    lease: object


def received_message(data: bytes, key: str | None, attributes: Mapping[str, str]) -> Message:
    """Return a message as a broker gave it, unchecked: messages of other programs need not keep our limits.

    A frozen dataclass sets each field through `object.__setattr__`; filling a plain twin of the same slots, without a
    constructor, then giving it the class, takes half the time, and drivers do this for every message.
    """
    draft = _MessageDraft()
    draft.data = data
    draft.key = key or None
    draft.attributes = attributes
    draft.__class__ = Message  # type: ignore[assignment]
    return draft  # type: ignore[return-value]


def delivery(message: Message, name: str, published: datetime, attempt: int, lease: object) -> Delivery:
    """Return a delivery, faster than its constructor does."""
    draft = _DeliveryDraft()
    draft.message = message
    draft.id = name
    draft.published = published
    draft.attempt = attempt
    draft.lease = lease
    draft.__class__ = Delivery  # type: ignore[assignment]
    return draft  # type: ignore[return-value]


@lru_cache(maxsize=1024)  # senders make many messages, and their attributes have the same few names
def _check_name(name: str) -> None:
    if not 1 <= _bytes_of("an attribute's name", name) <= MAX_NAME_BYTES:
        raise ValueError(f"attribute name {name[:40]!r} must have 1 to {MAX_NAME_BYTES} bytes")
    if name.startswith(_RESERVED_PREFIXES):
        raise ValueError(f"attribute {name!r} begins with one of {', '.join(_RESERVED_PREFIXES)}: choose another name")


def _check_texts(key: str | None, attributes: Mapping[str, str]) -> None:
    if key is not None and _bytes_of("key", key) > MAX_KEY_BYTES:
        raise ValueError(f"the key has more than {MAX_KEY_BYTES} bytes: use a hash of it")
    for name, value in attributes.items():
        if _bytes_of("an attribute's value", value) > MAX_VALUE_BYTES:
            raise ValueError(f"attribute {name!r} has more than {MAX_VALUE_BYTES} bytes: put it into data")


def _bytes_of(what: str, text: str) -> int:
    if not isinstance(text, str):
        raise TypeError(f"{what} is {type(text).__name__}; it must be str")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} is not valid Unicode ({error.reason}): put bytes into data") from error


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
