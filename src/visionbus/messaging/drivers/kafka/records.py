"""A Message as a Kafka record, and back."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from visionbus.messaging.message import OWN_PREFIX, Message, received_message

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

CLOUD_EVENT = "ce-"  # how CloudEvents names its attributes here and in HTTP ...
CLOUD_EVENT_ON_KAFKA = "ce_"  # ... and in its Kafka binding
LATEST = 253_402_300_799_000  # milliseconds: the end of the year 9999
UNCARRIED = OWN_PREFIX + "attributes"  # as JSON: attributes with a NUL in their name, which ends a name in librdkafka


class Record(Protocol):
    """A record that was received: confluent-kafka's `Message` where it stands for no error."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...


def key_of(message: Message) -> bytes | None:
    """Return the record's key."""
    return None if message.key is None else message.key.encode("utf-8", "surrogateescape")


def headers_of(attributes: Mapping[str, str]) -> dict[str, str | bytes | None]:
    """Return the record's headers.

    Raises `ValueError` for a name that is no Unicode: what others sent so cannot be written by librdkafka.
    """
    text = "\n".join((*attributes, *attributes.values()))
    if text.isascii() and "\0" not in text and CLOUD_EVENT not in text:
        return dict(attributes)  # librdkafka encodes them, faster than we do
    headers: dict[str, str | bytes | None] = {}
    uncarried = {}
    for name, value in attributes.items():
        if "\0" in name:
            uncarried[name] = value
        elif not _is_unicode(name):
            raise ValueError(f"Kafka cannot carry an attribute's name that is not Unicode: {name!r}")
        else:
            headers[CLOUD_EVENT_ON_KAFKA + name[3:] if name[:3] == CLOUD_EVENT else name] = value.encode(
                "utf-8", "surrogateescape"
            )
    if uncarried:
        headers[UNCARRIED] = json.dumps(uncarried).encode()
    return headers


def _is_unicode(name: str) -> bool:
    return _is_text(name, "strict")


def _is_text(text: str, errors: str = "surrogateescape") -> bool:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def message_of(record: Record) -> Message:
    """Return the message that a record holds, whoever wrote it."""
    try:
        key = record.key()
        headers = record.headers() or ()
        attributes = {  # what nearly all are: in one pass, as receivers get many
            (CLOUD_EVENT + name[3:] if name[:3] == CLOUD_EVENT_ON_KAFKA else name): value.decode()
            for name, value in headers
        }
        if UNCARRIED not in attributes:
            return received_message(record.value() or b"", key.decode() if key else None, attributes)
    except (AttributeError, SystemError, UnicodeDecodeError):
        pass  # a header without a value; a name that is no UTF-8; a value or a key that is none
    return _odd_message_of(record)


def _odd_message_of(record: Record) -> Message:
    try:
        headers = record.headers() or []
    except (SystemError, UnicodeDecodeError):
        place = f"{record.topic()} {record.partition()}-{record.offset()}"
        log.warning("record %s has a header whose name is not UTF-8: its headers are left out", place)
        headers = []
    attributes = {
        (CLOUD_EVENT + name[3:] if name.startswith(CLOUD_EVENT_ON_KAFKA) else name): _text(value or b"")
        for name, value in headers
    }
    attributes |= _uncarried(attributes.pop(UNCARRIED, "{}"))
    return received_message(record.value() or b"", _text(record.key() or b""), attributes)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _uncarried(text: str) -> dict[str, str]:
    """Read what `headers_of` wrote; what others may have put there is nothing."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(read, dict):
        return {}
    return {name: value for name, value in read.items() if "\0" in name and isinstance(value, str) and _is_text(value)}


def published(milliseconds: int) -> datetime:
    """Return the time of a record, brought into the years that Python knows: senders may claim any."""
    return datetime.fromtimestamp(min(max(milliseconds, 0), LATEST) / 1000, UTC)
