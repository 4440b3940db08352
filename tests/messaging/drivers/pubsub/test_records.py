"""A message as a PubsubMessage and back: nothing is lost on the way, whoever wrote it."""

from datetime import UTC, datetime

import pytest
from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging import Message
from visionbus.messaging.drivers.pubsub.records import EMPTY, check_carried, delivery_of, encoded, message_of
from visionbus.messaging.message import received_message

PublishRequest, PubsubMessage = (one.pb() for one in (types.PublishRequest, types.PubsubMessage))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = TEXT.filter(lambda name: name and not name.startswith(("goog", "ce_", "visionbus-")))
MESSAGES = st.builds(Message, st.binary(max_size=100), st.none() | TEXT, st.dictionaries(NAMES, TEXT, max_size=8))


def carried(*messages):
    """What Pub/Sub reads in a request that is made of these."""
    return list(PublishRequest.FromString(b"".join(encoded(message) for message in messages)).messages)


@given(st.lists(MESSAGES, max_size=4))
def test_messages_come_out_equal_and_in_order(messages):
    for message in messages:
        check_carried(message)
    there = carried(*messages)
    assert [message_of(one) for one in there] == messages
    assert all(one.data or one.attributes for one in there)  # Pub/Sub refuses others


@pytest.mark.parametrize("key", [None, "key"])
def test_empty_message_gets_a_mark_that_is_taken_off(key):
    (there,) = carried(Message(b"", key))
    assert dict(there.attributes) == {EMPTY: "1"}
    assert message_of(there) == Message(b"", key)


def test_empty_data_with_attributes_gets_no_mark():
    (there,) = carried(Message(b"", attributes={"a": ""}))
    assert dict(there.attributes) == {"a": ""}


def test_delivery_has_what_pubsub_says():
    received = PubsubMessage(data=b"data")
    time = datetime(2026, 7, 1, 12, 30, 15, 123456, UTC)
    received.publish_time.FromDatetime(time)
    delivery = delivery_of(received, "17", 3, "lease")
    assert delivery.message == Message(b"data")
    assert (delivery.id, delivery.attempt, delivery.lease) == ("17", 3, "lease")
    assert delivery.published == time


@pytest.mark.parametrize(
    ("key", "attributes", "complaint"),
    [
        (None, {str(number): "" for number in range(101)}, "101 attributes"),
        (None, {"": "value"}, "it is empty, or begins with goog"),
        (None, {"google": "value"}, "it is empty, or begins with goog"),
        (None, {"n" * 257: ""}, "an attribute's name: it has 257 bytes"),
        (None, {"ä" * 129: ""}, "an attribute's name: it has 258 bytes"),
        (None, {"name": "v" * 1025}, "the value of the attribute 'name': it has 1,025 bytes"),
        (None, {"name": "\udcff"}, "not Unicode"),
        (None, {"\udcff": "value"}, "not Unicode"),
        ("\udcff", {}, "not Unicode"),
        ("k" * 1025, {}, "the key: it has 1,025 bytes"),
    ],
)
def test_what_others_sent_and_pubsub_cannot_carry_is_refused(key, attributes, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_carried(received_message(b"data", key, attributes))


def test_what_is_just_within_the_limits_is_carried():
    attributes = {str(number): "" for number in range(97)}
    attributes |= {"n" * 256: "", "ä" * 128: "", "v": "v" * 1024}
    message = received_message(b"", "k" * 1024, attributes)
    check_carried(message)
    assert [message_of(one) for one in carried(message)] == [message]
