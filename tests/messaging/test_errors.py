"""What a send raises of which not all was confirmed."""

from visionbus.messaging import Message, SendError, UnavailableError
from visionbus.messaging.errors import send_error

MESSAGES = [Message(b"1"), Message(b"2")]


def test_messages_that_all_failed_alike_have_one_error():
    failures = [(message, UnavailableError("away")) for message in MESSAGES]
    assert send_error(failures, 2) is failures[0][1]


def test_messages_that_failed_for_different_reasons_are_named_with_theirs():
    failures = list(zip(MESSAGES, (UnavailableError("away"), UnavailableError("slow")), strict=True))
    error = send_error(failures, 2)
    assert isinstance(error, SendError)
    assert error.unconfirmed == tuple(failures)


def test_messages_that_failed_while_others_did_not_are_named():
    failures = [(MESSAGES[0], UnavailableError("away"))]
    error = send_error(failures, 2)
    assert isinstance(error, SendError)
    assert error.unconfirmed == tuple(failures)
