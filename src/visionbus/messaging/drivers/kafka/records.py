"""A Message as a Kafka record, and back."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from visionbus.messaging.message import OWN_PREFIX, Message, received_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    Headers = dict[str, str | bytes | None]  # as confluent-kafka takes them

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


def headers_of(attributes: Mapping[str, str]) -> Headers:
    """Return the record's headers.

    Raises `ValueError` for a name that is no Unicode: what others sent so cannot be written by librdkafka.
    """
    headers: Headers = {}
    try:  # what nearly all are; by a plain loop, as a comprehension is a call, and this is done for every message
        for name, value in attributes.items():
            headers[_header(name)] = value.encode()
    except ValueError:
        return _odd_headers_of(attributes)
    return headers


def _odd_headers_of(attributes: Mapping[str, str]) -> Headers:
    headers: Headers = {}
    uncarried = {}
    for name, value in attributes.items():
        if "\0" in name:
            uncarried[name] = value
        else:
            headers[_header(name)] = value.encode("utf-8", "surrogateescape")
    if uncarried:
        headers[UNCARRIED] = json.dumps(uncarried, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return headers


@lru_cache(maxsize=1024)  # the same few names come with every message
def _header(attribute: str) -> str:
    if "\0" in attribute or not _is_text(attribute, "strict"):
        raise ValueError(f"Kafka cannot carry an attribute's name that is not Unicode, or has a NUL: {attribute!r}")
    return CLOUD_EVENT_ON_KAFKA + attribute[3:] if attribute[:3] == CLOUD_EVENT else attribute


@lru_cache(maxsize=1024)
def _attribute(header: str) -> str:
    return CLOUD_EVENT + header[3:] if header[:3] == CLOUD_EVENT_ON_KAFKA else header


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
        attributes = {}
        for name, value in record.headers() or ():  # a plain loop, as above
            attributes[_attribute(name)] = value.decode()  # what nearly all are
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
    attributes = {_attribute(name): _text(value or b"") for name, value in headers}
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
