import copy
import dataclasses
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging import Delivery, Message
from visionbus.messaging.message import delivery, received_message

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_only_data_is_needed():
    message = Message(b"data")
    assert (message.data, message.key, message.attributes) == (b"data", None, {})


def test_empty_key_is_no_key():
    assert Message(b"", "") == Message(b"")
    assert received_message(b"", "", {}).key is None


@pytest.mark.parametrize("data", [bytearray(b"x"), memoryview(b"x"), "text", None, 1])
def test_data_that_is_not_bytes_is_refused(data):
    with pytest.raises(TypeError, match="must be bytes"):
        Message(data)


@pytest.mark.parametrize(("key", "attributes"), [(b"key", {}), (1, {}), (None, {"name": 1}), (None, {b"name": ""})])
def test_text_that_is_not_str_is_refused(key, attributes):
    with pytest.raises(TypeError, match="must be str"):
        Message(b"", key, attributes)


@pytest.mark.parametrize(
    ("key", "attributes"),
    [
        ("k" * 1024, {}),
        ("\u00e9" * 512, {}),
        (None, {"n" * 256: "v" * 1024}),
        (None, {"\u00e9" * 128: "\U0001f600" * 256}),
        (None, {str(number): "" for number in range(90)}),
        (None, {"ce-id": "", "Goog": "", "google".upper(): "", "visionbus": "", "x-visionbus-y": ""}),
    ],
)
def test_longest_text_is_accepted(key, attributes):
    Message(b"", key, attributes)


@pytest.mark.parametrize(
    ("key", "attributes", "cure"),
    [
        ("k" * 1025, {}, "use a hash"),
        ("\u00e9" * 513, {}, "use a hash"),
        (None, {"": "value"}, "1 to 256 bytes"),
        (None, {"n" * 257: ""}, "1 to 256 bytes"),
        (None, {"\u00e9" * 129: ""}, "1 to 256 bytes"),
        (None, {"name": "v" * 1025}, "put it into data"),
        (None, {"name": "\U0001f600" * 257}, "put it into data"),
        (None, {str(number): "" for number in range(91)}, "put the others into data"),
        (None, {"goog-id": ""}, "begins with one of"),
        (None, {"ce_id": ""}, "begins with one of"),
        (None, {"visionbus-reason": ""}, "begins with one of"),
        ("\ud800", {}, "not valid Unicode"),
        (None, {"\udcff": ""}, "not valid Unicode"),
        (None, {"name": "\udcff"}, "not valid Unicode"),
    ],
)
def test_text_that_some_broker_would_not_take_is_refused_with_the_cure(key, attributes, cure):
    with pytest.raises(ValueError, match=cure):
        Message(b"", key, attributes)


def test_attributes_are_copied():
    attributes = {"name": "before"}
    message = Message(b"", attributes=attributes)
    attributes["name"] = "after"
    assert message.attributes == {"name": "before"}


def test_size_counts_bytes_of_data_key_and_attributes():
    assert Message(b"").size == 0
    assert Message(b"four", "\u00e9", {"name": "\U0001f600"}).size == 4 + 2 + 4 + 4
    assert received_message(b"", "\udcff", {"a": "\udcfe"}).size == 3 + 1 + 3


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = text.filter(lambda name: name and not name.startswith(("goog", "ce_", "visionbus-")))
MESSAGES = st.tuples(st.binary(), st.none() | text, st.dictionaries(names, text, max_size=5))


@given(MESSAGES)
def test_message_made_the_quick_way_is_the_message(fields):
    made, quick = Message(*fields), received_message(*fields)
    assert type(quick) is Message
    assert quick == made
    assert hash(quick) == hash(made)
    assert repr(quick) == repr(made)
    assert pickle.loads(pickle.dumps(quick)) == copy.deepcopy(quick) == copy.copy(quick) == made
    assert dataclasses.asdict(quick) == dataclasses.asdict(made)
    assert dataclasses.replace(quick, data=b"other") == dataclasses.replace(made, data=b"other")
    assert quick.size == made.size


def test_delivery_made_the_quick_way_is_the_delivery():
    fields = (Message(b"data"), "7", NOW, 2)
    made, quick = Delivery(*fields, lease=object()), delivery(*fields, object())
    assert type(quick) is Delivery
    assert quick == made, "the lease is not compared"
    assert hash(quick) == hash(made)
    assert repr(quick) == repr(made)
    assert "lease" not in repr(quick)
    assert dataclasses.replace(quick, attempt=3).attempt == 3
    assert pickle.loads(pickle.dumps(delivery(*fields, 1))) == quick


@pytest.mark.parametrize("value", [Message(b""), received_message(b"", None, {})])
def test_messages_are_frozen(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.data = b"other"
    with pytest.raises((AttributeError, TypeError)):  # slots: no new attribute either
        value.other = 1


@pytest.mark.parametrize("value", [Delivery(Message(b""), "1", NOW, 1, 1), delivery(Message(b""), "1", NOW, 1, 1)])
def test_deliveries_are_frozen(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.attempt = 2


def test_messages_that_differ_in_one_field_are_not_equal():
    message = Message(b"data", "key", {"name": "value"})
    for change in ({"data": b""}, {"key": None}, {"attributes": {}}):
        assert dataclasses.replace(message, **change) != message
