"""Client: publishes images without waiting for answers, which come on a subscription of its own."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

from visionbus.messaging import ClosedError
from visionbus.service.errors import RefusedError, WireError
from visionbus.service.images import Item, Items, Requests, in_order
from visionbus.service.outbox import MAX_BYTES, MAX_MESSAGES, Outbox
from visionbus.service.patience import send_all, until_available
from visionbus.service.topology import Topology
from visionbus.service.wire import Answer, check_run

if TYPE_CHECKING:
    from types import TracebackType

    from visionbus.messaging import Bus, Delivery, Message, Subscription

log = logging.getLogger(__name__)
_PATIENCE = 0.02  # seconds that a source in a thread may take before what it gave is sent on
_END = object()


def new_run() -> str:
    """Return a name for a run: its start (UTC) and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def _log_refusal(reason: str) -> None:
    log.warning("left out: %s", reason)


class Client:
    """Sends images to be classified, and receives the answers; used in `async with`.

    `run` names what is sent, and begins its ids: the same run and images give the same ids, so that an interrupted run
    can be sent again. `answers` names a subscription of one's own on the answers, declared before anything is sent; it
    gathers answers until they are received, also while no client is there. `shrink`: image files over the bus's size
    limit are sent as JPEGs of at most 2,048 pixels a side. `model` names the only model that may answer, for
    images that name none themselves. `refused` is told of each image that is left out.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        topic: str = "visionbus",
        run: str | None = None,
        answers: str | None = None,
        ack_deadline: float = 10.0,
        shrink: bool = False,
        model: str | None = None,
        refused: Callable[[str], None] = _log_refusal,
    ) -> None:
        """Raise `ValueError` for a run that is not 1 to 100 letters, digits, `.`, `_`, `-`, and for an empty model."""
        if model == "":
            raise ValueError("the model's name is empty: leave it out where any model may answer")
        self.run = new_run() if run is None else check_run(run)
        self._bus = bus
        self._topology = Topology(topic)
        self._answers = answers
        self._ack_deadline = ack_deadline
        self._requests = Requests(self.run, bus.max_message_bytes, shrink, model)
        self._refused = refused
        self._numbers = itertools.count()  # of all that is submitted: ids are unique in the run
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        await until_available("declaring the topics", partial(self._topology.declare, self._bus))
        if self._answers:
            topic = self._topology.answers
            await until_available("declaring the answers", partial(self._bus.declare, topic, self._answers))
            receiver = self._bus.subscribe(topic, self._answers, ack_deadline=self._ack_deadline)
            self._subscription = await receiver.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._subscription:
            await self._subscription.close()

    async def submit(self, images: Items) -> AsyncGenerator[str]:
        """Send images, and yield each one's id once the bus holds it; answers are not waited for.

        Nothing is sent until it is iterated. An image without a name is called by its number, counted from 0 over all
        calls on this client; the same calls in the same order on another client of the same run give the same ids. If
        you stop early (use `contextlib.aclosing`), some images may have been
        sent whose ids you were not given.

        `images` gives paths, bytes of image files, uint8 pixels [h, w] or [h, w, c], `(name, any of these)`, or `Image`
        values; an array uint8 [n, h, w, c] (or [n, h, w]) is n of them. It may be an async iterable; any other is read
        in a thread. What is made and not yet sent is bounded. While the bus is unavailable it tries again, under
        the same ids. Raises `TypeError` for what is not an image.
        """
        outbox = Outbox()
        making = asyncio.create_task(self._make(images, outbox))
        try:
            while batch := await outbox.take():
                await send_all(self._bus, self._topology.requests, batch)
                for message in batch:
                    yield message.attributes["ce-id"]
            await making
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)

    async def answers(self) -> AsyncGenerator[Answer]:
        """Yield the answers to this run as they come, without end.

        Answers are acked in batches, when you have taken the last of a batch or stop iterating: after a crash, those of
        the unfinished batch come again. Answers to other runs are acked and left out. Raises `ValueError` if
        `Client(answers=...)` did not name a subscription.
        """
        if not self._subscription:
            raise ValueError('this client has no subscription of its own: Client(bus, answers="NAME")')
        receiver = self._subscription
        while True:
            batch = await until_available("receiving answers", lambda: receiver.receive(MAX_MESSAGES))
            done: list[Delivery] = []
            try:
                for one in batch:
                    if answer := self._own(one):
                        yield answer
                    done.append(one)
            finally:
                with suppress(ClosedError):
                    await until_available("acking answers", partial(receiver.ack, *done))

    def _own(self, delivery: Delivery) -> Answer | None:
        try:
            answer = Answer.from_message(delivery.message)
        except WireError as error:
            log.warning("passed over on %s: %s", self._topology.answers, error)
            return None
        return answer if answer.run == self.run else None

    async def _make(self, images: Items, outbox: Outbox) -> None:
        try:
            items = in_order(images)
            if isinstance(items, AsyncIterator):
                await self._make_from_async(items, outbox)
            else:
                await self._make_in_thread(items, outbox)
        finally:
            await outbox.end()

    async def _make_from_async(self, items: AsyncIterator[Item], outbox: Outbox) -> None:
        async for item in items:
            if message := await asyncio.to_thread(self._request, item):
                await outbox.put([message])

    async def _make_in_thread(self, items: Iterator[Item], outbox: Outbox) -> None:
        while True:
            messages, ended = await asyncio.to_thread(self._some, items)
            await outbox.put(messages)
            if ended:
                return

    def _some(self, items: Iterator[Item]) -> tuple[list[Message], bool]:
        """Make requests until they fill a batch, or time has passed; return them, and whether the items ended."""
        messages: list[Message] = []
        size = 0
        until = time.monotonic() + _PATIENCE
        while len(messages) < MAX_MESSAGES and size < MAX_BYTES and time.monotonic() < until:
            item = next(items, _END)
            if item is _END:
                return messages, True
            if message := self._request(item):  # type: ignore[arg-type]  # it is not the sentinel
                messages.append(message)
                size += message.size
        return messages, False

    def _request(self, item: Item) -> Message | None:
        try:
            return self._requests.make(item, next(self._numbers))
        except RefusedError as error:
            self._refused(str(error))
            return None
