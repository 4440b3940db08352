"""The parameters of a `pubsub://` URL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visionbus.messaging.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visionbus.messaging.driver import Address

PARAMETERS = frozenset(
    {
        "credentials",
        "endpoint",
        "expiration",
        "filter",
        "impersonate",
        "linger",
        "names",
        "prefetch_bytes",
        "retention",
        "send_timeout",
        "streams",
    }
)
_FILE = "keep the key in a file, whose path is `credentials=` or GOOGLE_APPLICATION_CREDENTIALS"
SECRETS = dict.fromkeys(("access_token", "api_key", "client_secret", "key", "private_key", "token"), _FILE)
EMULATOR = "PUBSUB_EMULATOR_HOST"  # the environment variable by which Google's clients find an emulator, too

ENDPOINT = "pubsub.googleapis.com:443"
MINUTE, DAY = 60.0, 86_400.0  # seconds
NEVER = 0.0  # expiration

_PROJECT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]|:(?=[A-Za-z])){2,99}", re.ASCII)  # example.com:project, too
_NAME = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@]+)(:[0-9]{1,5})?")
_ACCOUNT = re.compile(r"[^\s@,/?#]+@[^\s@,/?#]+")


@dataclass(frozen=True, slots=True)
class PubsubSettings:
    """What a `pubsub://` URL and PUBSUB_EMULATOR_HOST say. It holds no secret, only where one is kept."""

    project: str
    emulator: str | None = None  # host:port, reached without TLS and credentials
    endpoint: str = ENDPOINT  # host:port; a regional one keeps the messages of a key in order among several senders
    credentials: str | None = None  # path of a service account's key file; None: the usual places, of any kind
    impersonate: tuple[str, ...] = ()  # service accounts, the last one is acted for, the others pass it on
    verbatim_names: bool = False  # subscriptions are called by their bare name
    streams: int = 8  # at most, of one receiver; under backlog it opens more than one
    prefetch_bytes: int = 16 * 1024 * 1024  # read ahead by a receiver
    send_timeout: float = 30.0  # seconds until an unconfirmed message is given up
    linger: float = 0.0  # seconds that a message waits for company
    retention: float = 7 * DAY  # seconds that new subscriptions keep what is not acked
    expiration: float = NEVER  # seconds without a receiver after which a new subscription is removed
    filter: str = ""  # of new subscriptions, in Pub/Sub's own language; the emulator ignores it

    @classmethod
    def parse(cls, address: Address) -> PubsubSettings:
        """Take a URL apart; `ValueError` for what does not fit, naming the cure."""
        given = address.parameters
        settings = cls(
            project=_project(address),
            emulator=_emulator(),
            endpoint=_endpoint(given),
            credentials=_key_file(given),
            impersonate=_impersonated(given),
            verbatim_names=address.choice("names", "verbatim") is not None,
            streams=address.integer("streams", 1, 64) or 8,
            prefetch_bytes=address.integer("prefetch_bytes", 1024, 2**40) or 16 * 1024 * 1024,
            send_timeout=address.seconds("send_timeout", 30.0, 0.1, 86_400),
            linger=address.seconds("linger", 0.0, 0.0, 60.0),
            retention=address.seconds("retention", 7 * DAY, 10 * MINUTE, 31 * DAY),
            expiration=_expiration(address),
            filter=_filter(given),
        )
        if settings.linger >= settings.send_timeout:
            raise ValueError(
                f"linger={settings.linger:g} in the pubsub URL must be less than send_timeout={settings.send_timeout:g}"
            )
        if settings.expiration and settings.expiration < settings.retention:
            raise ValueError(
                f"expiration={settings.expiration:g} in the pubsub URL must be at least retention="
                f"{settings.retention:g}: Pub/Sub wants that"
            )
        return settings

    def topic_path(self, topic: str) -> str:
        """Return Pub/Sub's name of a topic; `NotFoundError` for what no topic can be called."""
        if not _NAME.fullmatch(topic):
            raise NotFoundError.undeclared(topic)
        return f"projects/{self.project}/topics/{topic}"

    def subscription_path(self, topic: str, subscription: str) -> str:
        """Return Pub/Sub's name of a subscription; `NotFoundError` for what none can be called."""
        name = subscription if self.verbatim_names else f"{topic}.{subscription}"
        if not _NAME.fullmatch(name):
            raise NotFoundError.undeclared(topic, subscription)
        return f"projects/{self.project}/subscriptions/{name}"


def _project(address: Address) -> str:
    if not _PROJECT.fullmatch(address.host):
        raise ValueError("the pubsub URL names no project: write pubsub://my-project")
    if address.path.strip("/"):
        raise ValueError("a pubsub URL has no path: topics are named in the calls, parameters stand behind a ?")
    return address.host


def _emulator() -> str | None:
    host = os.environ.get(EMULATOR)
    if host:
        found = _HOST.fullmatch(host)
        if not found or not _port_is_one(found):
            shown = "..." if "@" in host else repr(host)  # somebody may have put a secret there
            raise ValueError(f"{EMULATOR}={shown} in the environment is no address: write host:port, or unset it")
    return host or None


def _port_is_one(found: re.Match[str]) -> bool:
    """Return whether the port that `_HOST` found may be one; none is as good."""
    return not found[2] or int(found[2][1:]) in range(1, 65_536)


def _key_file(given: Mapping[str, str]) -> str | None:
    path = given.get("credentials")
    if path is not None and ("{" in path or "\n" in path):
        raise ValueError("credentials= in the pubsub URL is the path of a key file, not what is in it")
    return path


def _endpoint(given: Mapping[str, str]) -> str:
    value = given.get("endpoint", ENDPOINT)
    found = _HOST.fullmatch(value)
    if not found or not _port_is_one(found):
        raise ValueError(
            f"endpoint={value!r} in the pubsub URL: give a host, as in endpoint=europe-west1-pubsub.googleapis.com"
        )
    return value if found[2] else f"{value}:443"


def _impersonated(given: Mapping[str, str]) -> tuple[str, ...]:
    value = given.get("impersonate")
    accounts = () if value is None else tuple(value.split(","))
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise ValueError(
                f"impersonate={value!r} in the pubsub URL: give the e-mail address of a service account, "
                "before it those that pass it on, with commas between"
            )
    return accounts


def _expiration(address: Address) -> float:
    if address.parameters.get("expiration", "never") == "never":
        return NEVER
    return address.seconds("expiration", NEVER, DAY, 365 * DAY)


def _filter(given: Mapping[str, str]) -> str:
    value = given.get("filter", "")
    if len(value.encode()) > 256:
        raise ValueError("filter= in the pubsub URL has more than 256 bytes, which is all that Pub/Sub takes")
    return value
