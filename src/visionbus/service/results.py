"""collect: receives answers, stores them, and then acks."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from visionbus.messaging import SendError, UnavailableError
from visionbus.service.errors import StoreError, StoreUnavailableError, WireError
from visionbus.service.patience import before, until_available
from visionbus.service.topology import Topology
from visionbus.service.wire import RESULTS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from visionbus.messaging import Bus, Delivery, Subscription
    from visionbus.service.stores import Store

log = logging.getLogger(__name__)
BATCH = 512  # answers in a transaction, at most
GRACE = 5.0  # seconds after `stop` in which a batch in hand may still be stored


async def collect(
    bus: Bus,
    store: Store,
    *,
    topic: str = "visionbus",
    ack_deadline: float = 10.0,
    stop: asyncio.Event | None = None,
    stored: Callable[[int], bool | None] = lambda _: None,
) -> None:
    """Store the answers as they come, until `stop` is set: a batch in hand gets some seconds more.

    `stored` is told after each transaction how many new rows it made; where it returns true, this ends. While the store
    or the bus is unavailable, answers wait on the bus. What is not an answer, or cannot be stored, becomes a dead
    letter. The store is open. Raises `StoreError` where the store is damaged.
    """
    ended = stop or asyncio.Event()
    topology = Topology(topic)
    await before(ended, until_available("declaring the topics", partial(topology.declare, bus)))
    if ended.is_set():
        return
    receiver = bus.subscribe(topology.answers, RESULTS, ack_deadline=ack_deadline, max_in_flight=2 * BATCH)
    async with receiver:
        receive = partial(until_available, "receiving answers", partial(receiver.receive, BATCH))
        while deliveries := await before(ended, receive()):
            if stored(await before(ended, _keep(receiver, store, deliveries), grace=GRACE) or 0):
                return


async def _keep(receiver: Subscription, store: Store, deliveries: list[Delivery]) -> int:
    """Store what are answers, ack them, reject the rest; return the count of new rows."""
    answers: list[tuple[Delivery, Answer]] = []
    for one in deliveries:
        try:
            answers.append((one, Answer.from_message(one.message)))
        except WireError as error:
            await _reject(receiver, one, str(error))
    return await _store(receiver, store, answers) if answers else 0


async def _store(receiver: Subscription, store: Store, answers: list[tuple[Delivery, Answer]]) -> int:
    """Store answers and ack them; one that the store fails on is found, and rejected with the reason."""
    adding = partial(store.add, [answer for _, answer in answers])
    try:
        new = await until_available("storing answers", adding, StoreUnavailableError)
    except (StoreError, OSError, MemoryError):  # the fault is not an answer's
        raise
    except Exception as error:  # noqa: BLE001 (whatever an answer does to a store, its neighbours are stored)
        if len(answers) > 1:
            return sum([await _store(receiver, store, [one]) for one in answers])
        await _reject(receiver, answers[0][0], f"cannot be stored: {type(error).__name__}: {error}")
        return 0
    await until_available("acking answers", partial(receiver.ack, *[delivery for delivery, _ in answers]))
    return new


async def _reject(receiver: Subscription, one: Delivery, reason: str) -> None:
    log.warning("rejected an answer: %s", reason)
    rejecting = partial(receiver.reject, one, reason=reason)
    await until_available("rejecting an answer", rejecting, (UnavailableError, SendError))
