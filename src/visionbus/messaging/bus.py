"""The bus, the same over every driver: connect, declare, send, subscribe."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from visionbus.messaging.driver import Address, load_driver
from visionbus.messaging.errors import ClosedError, MessagingError, NotFoundError, TooLargeError
from visionbus.messaging.message import Message
from visionbus.messaging.names import DEAD_LETTERS, check_subscription, dead_letter_topic, topic_fault
from visionbus.messaging.retry import Retry
from visionbus.messaging.subscription import FlowControl, Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from visionbus.messaging.driver import Driver

DEFAULT_URL = "sqlite:///visionbus.db"
MAX_MESSAGE_BYTES = 1_000_000


def connect(url: str = DEFAULT_URL) -> Bus:
    """Return a bus for a URL, to be used in `async with`.

    The broker is first contacted by the first call. Raises `ValueError` for an unknown scheme or parameter, naming the
    known ones, and `MissingExtraError` if a client library is not installed. Every URL takes `max_message_bytes=`.
    """
    address = Address.parse(url)
    parameters = dict(address.parameters)
    limit = _size_limit(parameters.pop("max_message_bytes", str(MAX_MESSAGE_BYTES)))
    return Bus(load_driver(Address(address.scheme, address.host, address.path, parameters)), limit)


def _size_limit(text: str) -> int:
    if not (re.fullmatch("[0-9]{1,13}", text) and int(text) > 0):
        raise ValueError(f"max_message_bytes={text!r} in the bus URL; it must be a whole number of bytes, at least 1")
    return int(text)


class Bus:
    """One connection to a message broker, made by `connect` and used in `async with`.

    A bus belongs to one event loop; programs without one use `connect_blocking`. `max_message_bytes` is the size limit
    that `send` checks.
    """

    def __init__(self, driver: Driver, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.max_message_bytes = max_message_bytes
        self._driver = driver
        self._subscriptions: set[Subscription] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()
        self._closed = False

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the subscriptions, then the connection, within seconds. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        closings = [subscription.close() for subscription in tuple(self._subscriptions)]
        try:
            outcomes = await asyncio.gather(*closings, return_exceptions=True)
        finally:
            await self._driver.close()
        for failure in filter(None, outcomes):
            raise failure

    async def declare(self, topic: str, *subscriptions: str) -> None:
        """Create a topic, its subscriptions and their dead-letter topics, where they are missing.

        A subscription gets every message sent after its declaration. The dead letters of subscription S of topic T go
        to the topic `T.S.dead`, which has a subscription `dead-letters`. Declaring is idempotent, even if two do it at
        once. Raises `ValueError` for a name that some broker would not accept; topics that exist already may have
        any name.
        """
        self._check_open()
        for name in subscriptions:
            check_subscription(name)
        dead = {name: dead_letter_topic(topic, name) for name in subscriptions}
        fault = topic_fault(topic)
        try:
            await self._driver.declare(topic, {}, create=not fault)
        except NotFoundError as error:
            if fault:
                raise ValueError(fault) from error
            raise
        for letters in filter(None, dead.values()):
            await self._driver.declare(letters, {DEAD_LETTERS: None}, create=True)
        if dead:
            await self._driver.declare(topic, dead, create=False)

    async def send(self, topic: str, *messages: Message) -> list[str]:
        """Send messages, and return their ids, in order, once the broker holds them all.

        Raises `TooLargeError` before anything is sent. Raises `SendError`, with the messages the broker did not
        confirm; if all fail for the same reason, that error itself (`NotFoundError`, `UnavailableError`, ...).
        """
        self._check_open()
        self._check_messages(messages)
        return await self._driver.send(topic, messages) if messages else []

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float = 60.0,
        max_lease: float = 3600.0,
        max_in_flight: int = 1000,
        retry: Retry = Retry(),  # noqa: B008 (frozen)
    ) -> Subscription:
        """Return one more receiver of a subscription, to be used in `async with`.

        `ack_deadline` (seconds, 1 to 600): how soon others take over what a dead or frozen receiver held. `max_lease`
        (seconds): how long a handler may take at most. `max_in_flight`: how many deliveries may be handed out and not
        yet settled. Entering it raises `NotFoundError` if the topic or subscription is not declared.
        """
        self._check_open()
        check_subscription(subscription)
        flow = FlowControl(ack_deadline, max_lease, max_in_flight)
        made = Subscription(self._driver, topic, subscription, flow, retry, self._subscriptions.discard)
        self._subscriptions.add(made)
        return made

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the bus is closed: connect again")
        with suppress(RuntimeError):  # where none runs, nothing is begun yet
            running = asyncio.get_running_loop()
            self._loop = self._loop or running
            if self._loop is not running and self._process == os.getpid():  # of forks, drivers say more
                raise MessagingError("this bus belongs to another event loop: connect in each, or use connect_blocking")

    def _check_messages(self, messages: Sequence[Message]) -> None:
        for index, message in enumerate(messages):
            if not isinstance(message, Message):
                raise TypeError(f"message {index} is {type(message).__name__}; send takes Message values")
            if message.size > self.max_message_bytes:
                raise TooLargeError(
                    f"message {index} of {len(messages)} has {message.size:,} bytes, over {self.max_message_bytes:,}: "
                    "send less, or raise max_message_bytes where the broker allows it; nothing of this call was sent"
                )
