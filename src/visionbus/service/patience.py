"""Waiting out what is unavailable: the same call again, with back-off, until it succeeds."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

import stamina

from visionbus.messaging import SendError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from visionbus.messaging import Bus, Message

T = TypeVar("T")
log = logging.getLogger(__name__)


async def until_available(
    what: str,
    call: Callable[[], Awaitable[T]],
    unavailable: type[Exception] | tuple[type[Exception], ...] = UnavailableError,
) -> T:
    """Await `call()`, again after each `unavailable`, 0.1 to 5 s apart, and log each wait; other errors pass.

    It never gives up, so an outage causes delay, not loss.
    """
    try:
        return await call()  # most calls succeed at once, and need not pay for what follows
    except unavailable as error:
        log.warning("%s: %s; trying again until it succeeds", what, error)
    async for attempt in stamina.retry_context(on=unavailable, attempts=None, timeout=None, wait_jitter=0.1):
        with attempt:
            result = await call()
    log.warning("%s: succeeds again", what)
    return result


async def before(stop: asyncio.Event, work: Coroutine[object, object, T], *, grace: float = 0.0) -> T | None:
    """Await `work` and return its result; None if `stop` is set and it does not end within `grace` seconds of that."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=grace)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def send_all(bus: Bus, topic: str, messages: Sequence[Message]) -> None:
    """Send until the broker holds them all; what it confirmed is not sent twice.

    Raises what waiting does not cure: `NotFoundError`, `AccessError`, `TooLargeError`.
    """
    left = messages

    async def send() -> None:
        nonlocal left
        try:
            await bus.send(topic, *left)
        except SendError as error:
            left = [message for message, _ in error.unconfirmed]
            for _, reason in error.unconfirmed:
                if not isinstance(reason, UnavailableError):
                    raise reason from error
            raise UnavailableError(str(error)) from error

    await until_available(f"sending to {topic}", send)
