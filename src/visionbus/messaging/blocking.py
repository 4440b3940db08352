"""The blocking twin of the bus, for programs without an event loop: the same verbs, run on a loop in a thread of its
own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from visionbus.messaging.bus import DEFAULT_URL, Bus, connect
from visionbus.messaging.errors import ClosedError
from visionbus.messaging.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from visionbus.messaging.message import Delivery, Message
    from visionbus.messaging.subscription import Subscription

T = TypeVar("T")


def connect_blocking(url: str = DEFAULT_URL) -> BlockingBus:
    """Give a bus whose verbs block, to be used in `with`; URLs and errors are those of `connect`."""
    return BlockingBus(url)


class _Loop:
    """An event loop in a thread; leases are extended there while the program's own code runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._submitting = threading.Lock()  # nothing is handed over once the end has begun: nobody would answer
        self._ended = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="visionbus-blocking", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run to the end, and return or raise what it does; an interrupt (Ctrl-C) cancels it, which loses nothing: what
        was being handed out at that moment comes again, when the subscription is closed at the latest.
        """
        if self.is_of_parent:
            work.close()
            raise ClosedError("the bus was connected by the process that this one was forked from: connect here")
        with self._submitting:
            if self._ended:
                work.close()
                raise ClosedError("the bus is closed: connect again")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ClosedError("the bus was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    @property
    def is_of_parent(self) -> bool:
        """Whether this process was forked meanwhile: a fork has no threads, and the loop is the parent's."""
        return self._process != os.getpid()

    def stop(self) -> None:
        """Cancel what other threads still wait for, and end the thread."""
        with self._submitting:
            self._ended = True
            ending = asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class BlockingBus:
    """`Bus` with verbs that block; made by `connect_blocking`, used in `with`. May be used from several threads."""

    def __init__(self, url: str) -> None:
        self._bus: Bus = connect(url)
        self._loop = _Loop()
        self._closing = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        self._loop.run(self._bus.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As `Bus.close`; what other threads wait for ends with `ClosedError`."""
        with self._closing:
            if self._closed or self._loop.is_of_parent:
                return
            self._closed = True
            try:
                self._loop.run(self._bus.close())
            finally:
                self._loop.stop()

    def declare(self, topic: str, *subscriptions: str) -> None:
        """As `Bus.declare`."""
        self._loop.run(self._bus.declare(topic, *subscriptions))

    def send(self, topic: str, *messages: Message) -> list[str]:
        """As `Bus.send`."""
        return self._loop.run(self._bus.send(topic, *messages))

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float = 60.0,
        max_lease: float = 3600.0,
        max_in_flight: int = 1000,
        retry: Retry = Retry(),  # noqa: B008 (frozen)
    ) -> BlockingSubscription:
        """As `Bus.subscribe`."""
        made = self._bus.subscribe(
            topic,
            subscription,
            ack_deadline=ack_deadline,
            max_lease=max_lease,
            max_in_flight=max_in_flight,
            retry=retry,
        )
        return BlockingSubscription(made, self._loop)


class BlockingSubscription:
    """`Subscription` with verbs that block; made by `BlockingBus.subscribe`, used in `with`."""

    def __init__(self, subscription: Subscription, loop: _Loop) -> None:
        self._subscription = subscription
        self._loop = loop
        self._entered = False

    @property
    def ack_deadline(self) -> float:
        """Seconds, as in force once entered."""
        return self._subscription.ack_deadline

    def __enter__(self) -> Self:
        self._loop.run(self._subscription.__aenter__())
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As `Subscription.close`; nothing is left to do where the bus is closed."""
        with suppress(ClosedError):
            self._loop.run(self._subscription.close())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delivery:
        try:
            return self._loop.run(self._subscription.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
        except ClosedError:
            if not self._entered:
                raise
            raise StopIteration from None

    def receive(self, max_messages: int = 1, *, linger: float = 0.0, timeout: float | None = None) -> list[Delivery]:
        """As `Subscription.receive`."""
        return self._loop.run(self._subscription.receive(max_messages, linger=linger, timeout=timeout))

    def ack(self, *deliveries: Delivery) -> None:
        """As `Subscription.ack`."""
        self._loop.run(self._subscription.ack(*deliveries))

    def nack(self, *deliveries: Delivery, delay: float | None = None) -> None:
        """As `Subscription.nack`."""
        self._loop.run(self._subscription.nack(*deliveries, delay=delay))

    def reject(self, *deliveries: Delivery, reason: str) -> None:
        """As `Subscription.reject`."""
        self._loop.run(self._subscription.reject(*deliveries, reason=reason))
