"""collect: receives answers, stores them, and then acks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from visionbus.messaging import SendError, UnavailableError
from visionbus.service.errors import StoreUnavailableError, WireError
from visionbus.service.patience import before, until_available
from visionbus.service.topology import Topology
from visionbus.service.wire import RESULTS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from visionbus.messaging import Bus, Delivery, Subscription
    from visionbus.service.stores import Store

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
    or the bus is unavailable, answers wait on the bus. What is no answer becomes a dead letter. The store is open.
    """
    ended = stop or asyncio.Event()
    topology = Topology(topic)
    await until_available("declaring the topics", partial(topology.declare, bus))
    receiver = bus.subscribe(topology.answers, RESULTS, ack_deadline=ack_deadline, max_in_flight=2 * BATCH)
    async with receiver:
        receive = partial(until_available, "receiving answers", partial(receiver.receive, BATCH))
        while deliveries := await before(ended, receive()):
            if stored(await before(ended, _keep(receiver, store, deliveries), grace=GRACE) or 0):
                return


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
