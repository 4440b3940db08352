"""What a broker must do for the bus: the driver interface, and how a URL finds its driver.

Why it has this shape, and how it was held against Kafka and Pub/Sub: `docs/decisions/0101-driver-interface.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

    from visionbus.messaging.message import Delivery, Message

BUS_PARAMETERS = frozenset({"max_message_bytes"})  # URL parameters of every bus, whatever its driver
ENTRY_POINTS = "visionbus.messaging.drivers"  # the group by which others' drivers are found: scheme = "module:Class"
_OWN = {
    "memory": "visionbus.messaging.drivers.memory:MemoryDriver",
    "sqlite": "visionbus.messaging.drivers.sqlite:SQLiteDriver",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A bus URL, taken apart: `scheme://host/path?parameters`, host and path percent-decoded."""

    scheme: str
    host: str
    path: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart; `ValueError` for one with a secret, a fragment or a parameter given twice."""
        scheme, separator, rest = url.partition("://")
        if not (scheme and separator):
            raise ValueError(f"{url!r} is not a bus URL: begin with a scheme, as in sqlite:///visionbus.db")
        parts = urlsplit(f"//{rest}")
        if "@" in parts.netloc:
            raise ValueError("a bus URL holds no user or password: give secrets by the environment or a file")
        if parts.fragment:
            raise ValueError(f"{url!r} has a fragment (#): write %23 where it belongs to the path")
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
            if name in parameters:
                raise ValueError(f"parameter {name!r} stands twice in the {scheme} URL: keep one")
            parameters[name] = value
        return cls(scheme.lower(), unquote(parts.netloc), unquote(parts.path), parameters)


class Driver(ABC):
    """One connection to one broker: what a `Bus` is on the inside.

    A driver is made by its address without touching the broker, and is used on one event loop. It translates the errors
    of its client library into those of `visionbus.messaging.errors`. Names and limits are checked before it is called;
    a `topic` may have any name that the broker knows.
    """

    parameters: ClassVar[frozenset[str]] = frozenset()  # the URL parameters it knows, besides those of every bus
    flags: ClassVar[frozenset[str]] = frozenset()  # the promises it lacks, by number ("8"): their tests are skipped
    across_processes: ClassVar[bool] = True  # whether other processes reach the same messages by the same URL

    @abstractmethod
    def __init__(self, address: Address) -> None:
        """Take the address; `ValueError` for a host, path or parameter value that it cannot use."""

    @abstractmethod
    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        """Make what is missing of a topic and its subscriptions, each given with its dead-letter topic, which exists.

        Declaring twice, or by two at once, is as once. A new subscription gets every message sent after this returns.
        With `create` false a topic that does not exist is a `NotFoundError`, and nothing is made.
        """

    @abstractmethod
    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Hand over all messages, and return their ids once the broker holds them all.

        Messages of one key keep their order. Raises `SendError` with those that are not confirmed, or one error where
        all fail for one reason; `NotFoundError` for an unknown topic.
        """

    @abstractmethod
    async def attach(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float,
        prefetch: int,
        lost: Callable[[Collection[Hashable]], None],
    ) -> DriverSubscription:
        """Join a subscription as one more receiver; `NotFoundError` where topic or subscription is not declared.

        `ack_deadline` (seconds) is brought into the range that the broker allows. `prefetch` bounds the messages held
        in memory, however deep the backlog: fetched and not yet settled, waiting for a delayed retry, and read ahead,
        together. `lost` is called on the event loop with the leases of fetched messages that now belong to others
        (revoked, or run out while the process was frozen): acks of these change nothing from then on.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give back what the connection holds, in seconds at most; its subscriptions are closed by then."""


class DriverSubscription(ABC):
    """One receiver of one subscription.

    It extends the leases of all that it fetched for as long as the event loop turns: until each is acked, nacked,
    released or lost. When the loop has not turned for `ack_deadline`, it lets other receivers have them. While one
    receiver holds messages of a key, other receivers get none of that key. Leases it does not know, or no longer holds,
    are passed over in silence by all verbs.

    It does not promise order after a nack, nor that a message comes once.
    """

    ack_deadline: float  # seconds, as in force

    @abstractmethod
    async def fetch(self, room: int, timeout: float | None) -> Sequence[Delivery]:
        """Return what is there, 1 to `room` deliveries; where nothing is, wait for the first, `timeout` seconds at
        most.

        Returns nothing after `timeout` (None: never), or when the subscription is closed meanwhile. It is called by one
        task at a time. Cancelled, it loses nothing: what it had got comes with the next fetch, or goes back. Nothing
        busy-waits.
        """

    @abstractmethod
    async def ack(self, leases: Collection[Hashable]) -> None:
        """Settle: never again to this subscription. May be gathered for up to 100 ms before the broker hears it."""

    @abstractmethod
    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        """Count an attempt, and hand out again after `delay` seconds."""

    @abstractmethod
    async def release(self, leases: Collection[Hashable]) -> None:
        """Give back at once to any receiver, without counting an attempt."""

    @abstractmethod
    async def close(self) -> None:
        """Tell the broker the acks that are held, release all else, and leave; in seconds at most."""


def load_driver(address: Address) -> Driver:
    """Make the driver for an address, checked against the parameters that it knows.

    Raises `ValueError` for an unknown scheme or parameter, naming the known ones; `MissingExtraError` where the
    driver's client library is not installed.
    """
    cls = driver_class(address.scheme)
    for name in address.parameters:
        if name not in cls.parameters:
            known = ", ".join(sorted({*cls.parameters, *BUS_PARAMETERS}))
            raise ValueError(f"unknown parameter {name!r} in the {address.scheme} URL; known: {known}")
    return cls(address)


def driver_class(scheme: str) -> type[Driver]:
    """Find the driver of a scheme, ours or another distribution's; `ValueError` for an unknown one."""
    if scheme in _OWN:
        module, _, name = _OWN[scheme].partition(":")
        cls: type[Driver] = getattr(import_module(module), name)
        return cls
    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if scheme not in others:
        known = ", ".join(sorted({*_OWN, *others}))
        raise ValueError(f"unknown scheme {scheme!r} in the bus URL; known: {known}")
    loaded = others[scheme].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Driver)):
        raise TypeError(
            f"the entry point {scheme} = {others[scheme].value} is no subclass of Driver: mend or remove it"
        )
    return loaded
