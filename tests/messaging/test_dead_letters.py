from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.messaging import Delivery, Message
from visionbus.messaging.dead_letters import dead_letter, original
from visionbus.messaging.message import received_message

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def letter_of(message, reason="broken", attempt=3):
    return dead_letter(Delivery(message, "id-7", NOW, attempt, None), "images", "workers", reason)


def test_dead_letter_tells_what_failed_where_when_and_why():
    letter = letter_of(Message(b"data", "key", {"name": "value"}))
    assert (letter.data, letter.key) == (b"data", "key")
    assert letter.attributes == {
        "name": "value",
        "visionbus-reason": "broken",
        "visionbus-source-topic": "images",
        "visionbus-source-subscription": "workers",
        "visionbus-source-id": "id-7",
        "visionbus-attempts": "3",
        "visionbus-published": "2026-01-02T03:04:05.678901+00:00",
    }


def test_original_of_a_dead_letter_is_the_message():
    message = Message(b"data", "key", {"name": "value"})
    assert original(letter_of(message)) == message


def test_dead_letter_of_what_was_a_dead_letter_tells_the_last_failure_only():
    again = letter_of(letter_of(Message(b"")), reason="second", attempt=1)
    assert again.attributes["visionbus-reason"] == "second"
    assert again.attributes["visionbus-attempts"] == "1"


@given(st.text(), st.integers(0, 2000))
def test_reason_is_cut_to_1024_bytes_between_characters(tail, filling):
    reason = letter_of(Message(b""), "x" * filling + tail).attributes["visionbus-reason"]
    whole = ("x" * filling + tail).encode(errors="replace").decode()
    assert len(reason.encode()) <= 1024
    assert whole.startswith(reason)
    assert len(reason) == len(whole) or len(reason.encode()) > 1020, "no more is cut than must be"


def test_reason_that_is_not_unicode_is_made_so():
    assert letter_of(Message(b""), "bad \udcff").attributes["visionbus-reason"] == "bad ?"


def test_dead_letter_keeps_what_other_programs_sent():
    odd = received_message(b"\xff", "\udcff", {"goog-thing": "\udcfe", "n" * 300: "v" * 3000})
    assert original(letter_of(odd)) == odd


@pytest.mark.parametrize("with_data", [True, False])
@pytest.mark.parametrize("count", [93, 94, 95, 100])
def test_attributes_that_are_too_many_go_before_the_data(count, with_data):
    message = received_message(b"\xff\n", "key", {f"name-{number}": "\udcfe" for number in range(count)})
    made = Delivery(message, "id-7", NOW, 3, None)
    letter = dead_letter(made, "images", "workers", "broken", with_data=with_data, max_attributes=100)
    assert len(letter.attributes) <= 100
    assert ("visionbus-attributes-in-data" in letter.attributes) == (count + 6 + (not with_data) > 100)
    assert letter.attributes["visionbus-reason"] == "broken"
    if with_data:
        assert original(letter) == message
