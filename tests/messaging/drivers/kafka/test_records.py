"""A message as a record and back: nothing is lost on the way, whoever wrote it."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visionbus.messaging import Message
from visionbus.messaging.drivers.kafka.records import headers_of, key_of, message_of, published
from visionbus.messaging.message import received_message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
RESERVED = ("goog", "ce_", "visionbus-")
NAMES = st.one_of(TEXT, TEXT.map("ce-".__add__), TEXT.map("\0".__add__)).filter(
    lambda name: name and not name.startswith(RESERVED)
)
MESSAGES = st.builds(Message, st.binary(max_size=100), st.none() | TEXT, st.dictionaries(NAMES, TEXT, max_size=8))


@dataclass(frozen=True)
class Record:
    """A record as the client library gives it."""

    data: bytes | None
    binary_key: bytes | None
    wire: list[tuple[str, bytes | None]] | Exception | None

    def value(self):
        return self.data

    def key(self):
        return self.binary_key

    def headers(self):
        if isinstance(self.wire, Exception):
            raise self.wire
        return self.wire

    def topic(self):
        return "images"

    def partition(self):
        return 3

    def offset(self):
        return 7


def record_of(message):
    """Write a message as librdkafka does: names and texts end at a NUL, texts are encoded, no headers are None."""
    headers = [
        (name.partition("\0")[0], value.partition("\0")[0].encode() if isinstance(value, str) else value)
        for name, value in headers_of(message.attributes).items()
    ]
    return Record(message.data, key_of(message), headers or None)


@given(MESSAGES)
@example(Message(b"", None, {"a\0b": "1", "a\0c": "2", "ce-id": "3"}))
@example(Message(b"", None, {"ce-\0": "in a CloudEvents name"}))
def test_message_comes_back_equal(message):
    assert message_of(record_of(message)) == message


@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=40),
    st.none() | st.lists(st.tuples(TEXT, st.none() | st.binary(max_size=20)), max_size=8),
)
def test_any_record_is_a_message_that_can_be_sent_on(data, key, headers):
    message = message_of(Record(data, key, headers))
    assert message.data == (data or b"")
    assert key_of(message) == (key or None)
    assert message_of(record_of(message)) == message


@given(
    st.dictionaries(
        TEXT.filter(lambda name: not name.startswith(("ce_", "visionbus-"))), st.binary(max_size=20), max_size=8
    )
)
def test_headers_of_others_are_sent_on_as_they_were(headers):
    message = message_of(Record(b"", None, list(headers.items())))
    sent_on = headers_of(message.attributes)
    assert {name: value for name, value in headers.items() if "\0" not in name and not name.startswith("ce-")} == {
        name: value.encode() if isinstance(value, str) else value
        for name, value in sent_on.items()
        if not name.startswith(("ce_", "visionbus-"))
    }


def test_attributes_of_cloud_events_are_named_as_their_kafka_binding_says():
    assert headers_of({"ce-id": "1", "content-type": "image/png", "cent": "2"}) == {
        "ce_id": b"1",
        "content-type": b"image/png",
        "cent": b"2",
    }
    record = Record(b"", None, [("ce_id", b"1"), ("content-type", b"image/png")])
    assert message_of(record).attributes == {"ce-id": "1", "content-type": "image/png"}


def test_repeated_headers_keep_the_last_and_null_is_empty():
    record = Record(None, None, [("name", b"first"), ("null", None), ("name", b"last")])
    assert message_of(record) == Message(b"", None, {"name": "last", "null": ""})


def test_name_that_is_no_unicode_is_refused_with_its_reason():
    with pytest.raises(ValueError, match="cannot carry an attribute's name that is not Unicode"):
        headers_of(received_message(b"", None, {"\udcff": "1"}).attributes)


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), SystemError()])
def test_headers_that_the_client_library_cannot_give_are_left_out_with_a_warning(error, caplog):
    with caplog.at_level(logging.WARNING):
        assert message_of(Record(b"data", b"key", error)) == Message(b"data", "key")
    (line,) = caplog.messages
    assert "images 3-7" in line
    assert "not UTF-8" in line


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"text"', '{"number": 1}', "\udcff", "[" * 100_000])
def test_what_others_put_where_we_keep_uncarried_names_is_nothing(text):
    record = Record(b"", None, [("visionbus-attributes", text.encode("utf-8", "surrogateescape")), ("name", b"value")])
    assert message_of(record).attributes == {"name": "value"}


@pytest.mark.parametrize("text", ['{"a": "x"}', '{"a\\u0000": "\\ud800"}', '{"a\\u0000": 1}', "[" * 100_000, "\\ud800"])
def test_json_of_the_hostile_adds_no_attribute(text):
    assert message_of(Record(b"", None, [("visionbus-attributes", text.encode())])).attributes == {}


def test_names_with_a_nul_travel_as_json():
    headers = headers_of({"a\0b": "größe", "plain": "1"})
    assert headers["plain"] == b"1"
    assert json.loads(headers["visionbus-attributes"]) == {"a\0b": "größe"}


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 58)))  # noqa: DTZ001 (Hypothesis adds zones)
def test_time_of_a_record_comes_in_utc(when):
    when = when.replace(tzinfo=UTC, microsecond=when.microsecond // 1000 * 1000)
    milliseconds = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert abs(published(milliseconds) - when) <= timedelta(milliseconds=1)


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_time_that_a_sender_claims_stops_a_receiver(milliseconds):
    assert datetime(1970, 1, 1, tzinfo=UTC) <= published(milliseconds) <= datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
