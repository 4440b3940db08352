"""The errors of librdkafka and of brokers, as those of messaging."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from visionbus.messaging.errors import (
    AccessError,
    ClosedError,
    MessagingError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

UNREACHED = 10.0  # seconds: as long as a broker takes to start

_NAMES: dict[type[MessagingError], tuple[str, ...]] = {  # what is in none of these, and not retriable, stays general
    NotFoundError: (
        "GROUP_ID_NOT_FOUND",
        "UNKNOWN_TOPIC_ID",
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_PARTITION",
        "_UNKNOWN_TOPIC",
    ),
    AccessError: (
        "CLUSTER_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "UNSUPPORTED_SASL_MECHANISM",
        "_AUTHENTICATION",
        "_SSL",
    ),
    TooLargeError: ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"),
    UnavailableError: (
        "KAFKA_STORAGE_ERROR",
        "_ALL_BROKERS_DOWN",
        "_DESTROY_BROKER",
        "_MSG_TIMED_OUT",
        "_PURGE_INFLIGHT",
        "_PURGE_QUEUE",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
        "_WAIT_COORD",
    ),
}
_CLASSES = {name: cls for cls, names in _NAMES.items() for name in names}
# What brokers say of a client's certificate comes as a broken connection, as does TLS to a port that has none.
_TLS_REFUSAL = re.compile("certificate|SSL alert|PLAINTEXT broker listener")
_CURES: dict[type[MessagingError], str] = {
    NotFoundError: "declare it first (Bus.declare, or `visionbus bus declare`)",
    AccessError: "check the credentials, the certificates, security_protocol and the ACLs",
    TooLargeError: "send less, or raise the topic's max.message.bytes",
    UnavailableError: "check that the brokers run and that the URL names them",
}


def _class_of(error: KafkaError) -> type[MessagingError]:
    if error.name() == "_TRANSPORT" and _TLS_REFUSAL.search(error.str()):
        return AccessError
    return _CLASSES.get(error.name(), UnavailableError if error.retriable() else MessagingError)


def translated(error: KafkaError, doing: str) -> MessagingError:
    """Return the error of messaging for one of Kafka; `doing` says what failed, as in "sending to 'images'"."""
    cls = _class_of(error)
    cure = "connect again" if error.fatal() or error.name() == "_FATAL" else _CURES.get(cls)
    return cls(f"{doing} failed: {error.str()} ({error.name()}){f': {cure}' if cure else ''}")


def check_process(process: int) -> None:
    """Raise `ClosedError` where this is another process, forked meanwhile: librdkafka's threads are not in it."""
    if process != os.getpid():
        raise ClosedError("the bus was connected by the process that this one was forked from: connect here")


def cause(error: MessagingError) -> str:
    """Return Kafka's name for the cause of an error that was raised from an exception of the client library."""
    return error.__cause__.args[0].name() if isinstance(error.__cause__, KafkaException) else ""


class Connection:
    """Whether a client's brokers let it in: librdkafka says so only in passing, and goes on trying.

    A client that was never let in is told at once, and one that never reached any broker after `UNREACHED` seconds.
    For one that was let in before, a refusal may be that of a broker which has just restarted and does not know its
    users yet: that one waits, and times out.
    """

    def __init__(self) -> None:
        self.established = False
        self._refusal: KafkaError | None = None
        self._down: KafkaError | None = None

    def error_cb(self, error: KafkaError) -> None:
        """Take what librdkafka says; from any thread."""
        if _class_of(error) is AccessError:
            self._refusal = error
        elif error.name() == "_ALL_BROKERS_DOWN":
            self._down = error

    def refused(self, doing: str, waited: float = 0.0) -> MessagingError | None:
        """Return the error to raise instead of waiting on, after so many seconds."""
        if self.established:
            return None
        error = self._refusal or (self._down if waited > UNREACHED else None)
        return translated(error, doing) if error else None
