"""What a broker must do for the bus: the driver interface, and how a URL finds its driver.

Why it has this shape, and how it was held against Kafka and Pub/Sub: `docs/decisions/0101-driver-interface.md`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

    from visionbus.messaging.message import Delivery, Message

BUS_PARAMETERS = frozenset({"max_message_bytes"})  # URL parameters of every bus, whatever its driver
ENTRY_POINTS = "visionbus.messaging.drivers"  # the group by which others' drivers are found: scheme = "module:Class"
_OWN = {
    "kafka": "visionbus.messaging.drivers.kafka:KafkaDriver",
    "memory": "visionbus.messaging.drivers.memory:MemoryDriver",
    "pubsub": "visionbus.messaging.drivers.pubsub:PubsubDriver",
    "sqlite": "visionbus.messaging.drivers.sqlite:SQLiteDriver",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed bus URL: `scheme://host/path?parameters`, host and path percent-decoded."""

    scheme: str
    host: str
    path: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse a URL; `ValueError` for one with a secret, a fragment or a parameter given twice."""
        # errors repeat neither the query nor what has an @: somebody may have put a secret there
        shown = "..." if "@" in unquote(url) else url.partition("?")[0]
        scheme, separator, rest = url.partition("://")
        if not (scheme and separator):
            raise ValueError(f"{shown!r} is not a bus URL: begin with a scheme, as in sqlite:///visionbus.db")
        if "@" in unquote(re.split("[/?#]", rest, maxsplit=1)[0]):
            raise ValueError("a bus URL holds no user or password: pass secrets in the environment or in a file")
        wanted = "is not a bus URL: write scheme://host/path?name=value"
        try:
            parts = urlsplit(f"//{rest}")
        except ValueError as error:
            raise ValueError(f"{shown!r} {wanted} ({error})") from None
        try:
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise ValueError(f"{shown!r} with this query {wanted}, further parameters after &") from None
        if parts.fragment:
            raise ValueError(f"{shown!r} has a fragment (#): write %23 if it belongs to the path")
        parameters: dict[str, str] = {}
        for name, value in pairs:
            if name in parameters:
                raise ValueError(f"parameter {name!r} is given twice in the {scheme} URL: keep one")
            parameters[name] = value
        return cls(scheme.lower(), unquote(parts.netloc), unquote(parts.path), parameters)

    def seconds(self, name: str, default: float, low: float, high: float) -> float:
        """Return a parameter that is a time in seconds; `ValueError` if it is none in that range."""
        value = self.parameters.get(name)
        if value is None:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not low <= seconds <= high:  # false for NaN
            raise ValueError(f"{name}={value!r} in the {self.scheme} URL: give seconds from {low:.10g} to {high:.10g}")
        return seconds

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return a parameter that is a whole number, None if it is not given; `ValueError` if it is none in range."""
        value = self.parameters.get(name)
        if value is None:
            return None
        if not re.fullmatch("[0-9]{1,13}", value) or not low <= int(value) <= high:
            raise ValueError(f"{name}={value!r} in the {self.scheme} URL: give a whole number from {low} to {high}")
        return int(value)

    def choice(self, name: str, *known: str) -> str | None:
        """Return a parameter that is one of these, None if it is not given; `ValueError` for any other."""
        value = self.parameters.get(name)
        if value is not None and value not in known:
            raise ValueError(f"{name}={value!r} in the {self.scheme} URL; known: {', '.join(known)}")
        return value


CANCELLED = 5.0  # seconds that messages wait for somebody to ask again when a receive was cancelled, at most


class Patience:
    """Until when a receiver keeps what lies ready and nobody asks for: `until`, in seconds of the clock of `now`.

    Then it is for other receivers, until somebody asks again; sooner if who asked was cancelled, and may be gone.
    Whoever asks so seldom shall find something one day: each time that happens the patience is doubled, up to an hour.
    """

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._cancelled = min(seconds, CANCELLED)
        self.until = now + seconds

    def asked(self, *, too_late: bool) -> None:
        """Note that somebody waits for messages; `too_late`: they were given to others."""
        if too_late:
            self._seconds = min(self._seconds * 2, 3600.0)
            self._cancelled = min(self._cancelled * 2, 3600.0)
        self.until = math.inf

    def answered(self, now: float, *, cancelled: bool) -> None:
        """Note that nobody waits any more; `cancelled`: whoever did was cancelled."""
        self.until = now + (self._cancelled if cancelled else self._seconds)

    def shorten(self, seconds: float, now: float) -> None:
        """Keep what lies ready for so many seconds at most, unless somebody waits for it."""
        if self.until < math.inf:
            self.until = min(self.until, now + seconds)


class Driver(ABC):
    """One connection to one broker: the inside of a `Bus`.

    Creating a driver does not contact the broker. It is used on one event loop. It translates the errors of its client
    library into those of `visionbus.messaging.errors`. Names and limits are checked before it is called; `topic` may
    be any name that the broker knows.
    """

    parameters: ClassVar[frozenset[str]] = frozenset()  # the URL parameters it knows, besides those of every bus
    parameter_prefixes: ClassVar[tuple[str, ...]] = ()  # URL parameters that begin so are its own to check
    secrets: ClassVar[Mapping[str, str]] = {}  # URL parameters refused because they would show a secret: their cure
    flags: ClassVar[frozenset[str]] = frozenset()  # the promises it lacks, by number ("8"): their tests are skipped
    keeps_acked: ClassVar[bool] = False  # whether the broker keeps what is acked, for a time, where others can read it
    max_attributes: ClassVar[int | None] = None  # of a message, where the broker has a limit
    across_processes: ClassVar[bool] = True  # whether other processes reach the same messages by the same URL
    redelivers_acked: ClassVar[bool] = False  # whether it brings acked ones again behind one that was not

    @abstractmethod
    def __init__(self, address: Address) -> None:
        """Take the address; `ValueError` for a host, path or parameter value it cannot use."""

    @abstractmethod
    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        """Create the topic and its subscriptions where missing.

        `subscriptions` maps each name to its dead-letter topic, which already exists. Declaring is idempotent, even if
        two do it at once. A new subscription gets every message sent after this returns. If `create` is false and the
        topic does not exist, raises `NotFoundError` and creates nothing.
        """

    @abstractmethod
    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Send all messages, and return their ids, in order, once the broker holds them all.

        Messages with the same key keep their order. Raises `SendError` with the messages the broker did not confirm; if
        all fail for the same reason, that error itself. Raises `NotFoundError` for an unknown topic.
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
        """Join a subscription as one more receiver; `NotFoundError` if the topic or subscription is not declared.

        `ack_deadline` (seconds) is brought into the range that the broker allows. `prefetch` bounds the messages held
        in memory, however deep the backlog: those fetched and not yet settled, waiting for a delayed retry, and read
        ahead, together. `lost` is called on the event loop with the leases of fetched messages that now belong to other
        receivers (revoked, or expired while the process was frozen); from then on, acks of these have no effect.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the connection, within seconds. Its subscriptions have been closed before."""


class DriverSubscription(ABC):
    """One receiver of one subscription.

    While the event loop runs, it extends the lease of everything it fetched, until each message is acked, nacked,
    released or lost. When the loop has been blocked for `ack_deadline`, other receivers get the messages. While one
    receiver holds messages with a key, other receivers get none with that key. All methods silently ignore leases that
    they do not know or no longer hold.

    Not promised: order after a nack, and that a message comes only once.
    """

    ack_deadline: float  # seconds, the value in force

    @abstractmethod
    async def fetch(self, room: int, timeout: float | None) -> Sequence[Delivery]:
        """Return 1 to `room` deliveries, waiting for the first if there are none.

        Returns an empty sequence after `timeout` seconds (None: no limit), or when the subscription is closed
        meanwhile. Called by one task at a time. Cancelling it loses nothing: what it had fetched comes with the next
        fetch, or goes back to the broker. It never busy-waits.
        """

    @abstractmethod
    async def ack(self, leases: Collection[Hashable]) -> None:
        """Settle for good. Acks may be gathered for up to 100 ms before the broker hears of them."""

    @abstractmethod
    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        """Count an attempt, and deliver again after `delay` seconds."""

    @abstractmethod
    async def release(self, leases: Collection[Hashable]) -> None:
        """Give back to any receiver at once, without counting an attempt."""

    @abstractmethod
    async def close(self) -> None:
        """Send the acks that are held, release everything else, and leave, within seconds."""


def load_driver(address: Address) -> Driver:
    """Return the driver for an address.

    Raises `ValueError` for an unknown scheme or parameter, naming the known ones, and for a secret among the
    parameters; `MissingExtraError` if the driver's client library is not installed.
    """
    cls = driver_class(address.scheme)
    for name in address.parameters:
        if name in cls.secrets:
            raise ValueError(f"the {address.scheme} URL must not hold a secret, {name}: {cls.secrets[name]}")
        if name not in cls.parameters and not name.startswith(cls.parameter_prefixes):
            prefixed = (f"{prefix}*" for prefix in cls.parameter_prefixes)
            known = ", ".join(sorted({*cls.parameters, *BUS_PARAMETERS, *prefixed}))
            raise ValueError(f"unknown parameter {name!r} in the {address.scheme} URL; known: {known}")
    return cls(address)


def driver_class(scheme: str) -> type[Driver]:
    """Return the driver class for a scheme, ours or a third party's; `ValueError` for an unknown one."""
    if scheme in _OWN:
        module, _, name = _OWN[scheme].partition(":")
        cls: type[Driver] = getattr(import_module(module), name)
        return cls
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow to import, and for third parties only)

    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if scheme not in others:
        known = ", ".join(sorted({*_OWN, *others}))
        raise ValueError(f"unknown scheme {scheme!r} in the bus URL; known: {known}")
    loaded = others[scheme].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Driver)):
        raise TypeError(
            f"the entry point {scheme} = {others[scheme].value} is not a subclass of Driver: fix or remove it"
        )
    return loaded
