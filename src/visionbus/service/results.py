"""collect: receives answers, stores them, and then acks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from visionbus.messaging import SendError, UnavailableError
from visionbus.service.patience import until_available
from visionbus.service.stores import StoreUnavailableError
from visionbus.service.topology import Topology
from visionbus.service.wire import RESULTS, Answer, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from visionbus.messaging import Bus, Delivery, Subscription
    from visionbus.service.stores import Store

BATCH = 512  # answers in a transaction, at most


async def collect(
    bus: Bus,
    store: Store,
    *,
    topic: str = "visionbus",
    ack_deadline: float = 10.0,
    stop: asyncio.Event | None = None,
    stored: Callable[[int], bool | None] = lambda _: None,
) -> None:
    """Store the answers as they come, until `stop` is set.

    `stored` is told after each transaction how many new rows it made; where it returns true, this ends. While the store
    or the bus is unavailable, answers wait on the bus. What is no answer becomes a dead letter. The store is open.
    """
    ended = stop or asyncio.Event()
    topology = Topology(topic)
    await topology.declare(bus)
    receiver = bus.subscribe(topology.answers, RESULTS, ack_deadline=ack_deadline, max_in_flight=2 * BATCH)
    async with receiver:
        while deliveries := await _receive(receiver, ended):
            if stored(await _keep(receiver, store, deliveries)):
                return


async def _receive(receiver: Subscription, stop: asyncio.Event) -> list[Delivery]:
    """Wait for answers; none when `stop` is set."""
    receiving = asyncio.ensure_future(until_available("receiving answers", lambda: receiver.receive(BATCH)))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([receiving, stopping], return_when=asyncio.FIRST_COMPLETED)
        return receiving.result() if receiving.done() else []
    finally:
        receiving.cancel()
        stopping.cancel()


async def _keep(receiver: Subscription, store: Store, deliveries: list[Delivery]) -> int:
    """Store what are answers, ack them, reject the rest; give the count of new rows."""
    answers = []
    kept = []
    for one in deliveries:
        try:
            answers.append(Answer.from_message(one.message))
        except WireError as error:
            rejecting = partial(receiver.reject, one, reason=str(error))
            await until_available("rejecting what is no answer", rejecting, (UnavailableError, SendError))
        else:
            kept.append(one)
    if not answers:
        return 0
    new = await until_available("storing answers", partial(store.add, answers), StoreUnavailableError)
    await until_available("acking answers", partial(receiver.ack, *kept))
    return new
