"""What `visionbus.messaging` offers: a change here is a change for every user."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

from visionbus import messaging
from visionbus.messaging import (
    BlockingBus,
    BlockingSubscription,
    Bus,
    Delivery,
    Message,
    MessagingError,
    Retry,
    Subscription,
    connect,
    connect_blocking,
)

SUBSCRIBE = (
    "(self, topic: 'str', subscription: 'str', *, ack_deadline: 'float' = 60.0, max_lease: 'float' = 3600.0, "
    "max_in_flight: 'int' = 1000, retry: 'Retry' = Retry(max_attempts=5, delay=1.0, factor=2.0, max_delay=60.0))"
)
RECEIVE = (
    "(self, max_messages: 'int' = 1, *, linger: 'float' = 0.0, timeout: 'float | None' = None) -> 'list[Delivery]'"
)
VERBS = {
    "declare": "(self, topic: 'str', *subscriptions: 'str') -> 'None'",
    "send": "(self, topic: 'str', *messages: 'Message') -> 'list[str]'",
    "receive": RECEIVE,
    "ack": "(self, *deliveries: 'Delivery') -> 'None'",
    "nack": "(self, *deliveries: 'Delivery', delay: 'float | None' = None) -> 'None'",
    "reject": "(self, *deliveries: 'Delivery', reason: 'str') -> 'None'",
    "close": "(self) -> 'None'",
}


def test_public_names():
    assert messaging.__all__ == [
        "AccessError",
        "BlockingBus",
        "BlockingSubscription",
        "Bus",
        "ClosedError",
        "Delivery",
        "Message",
        "MessagingError",
        "MissingExtraError",
        "NotFoundError",
        "Retry",
        "SendError",
        "Subscription",
        "TooLargeError",
        "UnavailableError",
        "connect",
        "connect_blocking",
    ]


def test_connect():
    assert str(inspect.signature(connect)) == "(url: 'str' = 'sqlite:///visionbus.db') -> 'Bus'"
    assert str(inspect.signature(connect_blocking)) == "(url: 'str' = 'sqlite:///visionbus.db') -> 'BlockingBus'"


@pytest.mark.parametrize(
    ("kind", "verbs"),
    [
        (Bus, {"declare", "send", "subscribe", "close"}),
        (BlockingBus, {"declare", "send", "subscribe", "close"}),
        (Subscription, {"receive", "ack", "nack", "reject", "close"}),
        (BlockingSubscription, {"receive", "ack", "nack", "reject", "close"}),
    ],
)
def test_verbs(kind, verbs):
    public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    assert public == verbs
    for name in verbs - {"subscribe"}:
        assert str(inspect.signature(getattr(kind, name))) == VERBS[name]
    if "subscribe" in verbs:
        assert str(inspect.signature(kind.subscribe)).startswith(SUBSCRIBE)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (Message, {"data": "bytes", "key": "str | None", "attributes": "Mapping[str, str]"}),
        (
            Delivery,
            {"message": "Message", "id": "str", "published": "datetime", "attempt": "int", "lease": "object"},
        ),
        (Retry, {"max_attempts": "int", "delay": "float", "factor": "float", "max_delay": "float"}),
    ],
)
def test_values(value, fields):
    assert {field.name: field.type for field in dataclasses.fields(value)} == fields


def test_error_tree():
    tree = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(messaging).items()
        if isinstance(kind, type) and issubclass(kind, MessagingError)
    }
    assert tree == {
        "MessagingError": "Exception",
        **dict.fromkeys(
            ["NotFoundError", "ClosedError", "UnavailableError", "AccessError", "SendError"], "MessagingError"
        ),
        **dict.fromkeys(["TooLargeError", "MissingExtraError"], "MessagingError"),
    }
    assert issubclass(messaging.TooLargeError, ValueError)
    assert issubclass(messaging.MissingExtraError, ImportError)


@pytest.mark.parametrize("name", messaging.__all__)
def test_public_names_are_documented(name):
    thing = getattr(messaging, name)
    assert inspect.getdoc(thing)
    for member in VERBS:
        if inspect.isclass(thing) and member in vars(thing):
            assert inspect.getdoc(vars(thing)[member]), f"{name}.{member}"


def test_importing_messaging_brings_no_heavy_library():
    code = "import sys, visionbus.messaging; print({'numpy', 'torch', 'PIL', 'pytest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
