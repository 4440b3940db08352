"""serve: receives requests, classifies them in batches, answers, and then acks."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from visionbus.messaging import SendError, TooLargeError, UnavailableError
from visionbus.service.batching import BatchSize
from visionbus.service.classifier import Classifier
from visionbus.service.errors import WireError
from visionbus.service.patience import before, send_all, until_available
from visionbus.service.topology import Topology
from visionbus.service.watch import POISON, Unwatched, Watch, short
from visionbus.service.wire import WORKERS, Answer, Request, read_request

if TYPE_CHECKING:
    from visionbus.messaging import Bus, Delivery, Message, Subscription
    from visionbus.service.classifier import ServedModel

GRACE = 5.0  # seconds after `stop` in which what is in process may still be answered
_HELD = 3  # batches at a time: one being answered, one in process, one fetched ahead


@dataclass(slots=True)
class _Batch:
    """Requests that are taken together, and the deliveries they came by."""

    alone: bool
    received: float  # seconds since the epoch
    deliveries: list[Delivery] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [one.id for one in self.deliveries]


async def serve(
    bus: Bus,
    model: ServedModel,
    *,
    topic: str = "visionbus",
    ack_deadline: float = 10.0,
    batch: int = 256,
    stop: asyncio.Event | None = None,
    watch: Watch | None = None,
) -> None:
    """Classify what is requested, until `stop` is set: then what is in process is finished and the rest given back.

    A request that wants a model of another name gets an error answer. `ack_deadline` (seconds): how soon others take
    over when this worker dies. `batch`: the most images taken at a time, 1 to 1,024; fewer where they are slow or
    large. While the bus is unavailable it waits; other errors of the bus end it.
    """
    classifier = Classifier(model)
    topology = Topology(topic)
    ended = stop or asyncio.Event()
    with ThreadPoolExecutor(1, "classify") as thread:
        warming = partial(classifier.warm_up, min(batch, 64))
        seconds = await asyncio.get_running_loop().run_in_executor(thread, warming)
        size = BatchSize(batch, seconds)
        await before(ended, until_available("declaring the topics", partial(topology.declare, bus)))
        if ended.is_set():
            return
        receiver = bus.subscribe(topology.requests, WORKERS, ack_deadline=ack_deadline, max_in_flight=_HELD * batch)
        async with receiver:
            worker = _Worker(bus, receiver, topology.answers, classifier, thread, size, watch or Unwatched())
            await worker.run(ended)


class _Worker:
    """Three tasks, a bounded queue between each two: receive, classify, answer."""

    def __init__(
        self,
        bus: Bus,
        receiver: Subscription,
        answers: str,
        classifier: Classifier,
        thread: ThreadPoolExecutor,
        size: BatchSize,
        watch: Watch,
    ) -> None:
        self._bus = bus
        self._receiver = receiver
        self._answers = answers
        self._classifier = classifier
        self._thread = thread
        self._size = size
        self._watch = watch
        self._fetched: asyncio.Queue[_Batch | None] = asyncio.Queue(1)
        self._classified: asyncio.Queue[tuple[_Batch, list[Message]] | None] = asyncio.Queue(1)

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive(stop))
            classifying = group.create_task(self._classify(stop))
            answering = group.create_task(self._answer())
            self._watch.ready()
            await stop.wait()
            receiving.cancel()
            try:
                async with asyncio.timeout(GRACE):
                    await self._fetched.put(None)
                    await asyncio.wait({answering})
            except TimeoutError:  # the bus takes no answers now: the requests come again
                classifying.cancel()
                answering.cancel()

    async def _receive(self, stop: asyncio.Event) -> None:
        while not stop.is_set():  # being cancelled may coincide with a batch that has come
            deliveries = await until_available("receiving", lambda: self._receiver.receive(self._size.now))
            for batch in await self._sort(deliveries):
                await self._fetched.put(batch)

    async def _sort(self, deliveries: list[Delivery]) -> list[_Batch]:
        """Reject what is not a request, or is poison; the rest first, together, then each suspect alone."""
        verdicts = self._watch.verdicts()
        received = time.time()
        together = _Batch(alone=False, received=received)
        alone = []
        for one in deliveries:
            try:
                request = read_request(one.message)
            except WireError as error:
                await self._reject(one, str(error))
                continue
            batch = together
            if verdicts.poison or verdicts.suspects:
                if short(one.id) in verdicts.poison:
                    await self._reject(one, POISON)
                    continue
                if short(one.id) in verdicts.suspects:
                    batch = _Batch(alone=True, received=received)
                    alone.append(batch)
            batch.deliveries.append(one)
            batch.requests.append(request)
        return [together, *alone] if together.deliveries else alone

    async def _reject(self, one: Delivery, reason: str) -> None:
        rejecting = partial(self._receiver.reject, one, reason=reason)
        await until_available("rejecting a request", rejecting, (UnavailableError, SendError))
        self._watch.settled([one.id])

    async def _classify(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while batch := await self._fetched.get():
            if stop.is_set():
                continue  # given back when the subscription closes
            if batch.alone:
                await self._classified.join()  # should it kill us, no other's answer is lost
            start = loop.time()
            messages = await loop.run_in_executor(self._thread, self._process, batch)
            size = sum(len(request.data) for request in batch.requests)
            self._size.observe(len(messages), size, loop.time() - start)
            await self._classified.put((batch, messages))
        await self._classified.put(None)

    def _process(self, batch: _Batch) -> list[Message]:
        """Do the work of one batch in the thread; the watch knows of it meanwhile."""
        published = [one.published.timestamp() for one in batch.deliveries]
        self._watch.begin(batch.names, alone=batch.alone)
        answers = self._classifier.answer(batch.requests, published, batch.received)
        messages = [answer.to_message() for answer in answers]
        self._watch.end()  # not where it fails: what ends a worker is to be known
        return messages

    async def _answer(self) -> None:
        while item := await self._classified.get():
            batch, messages = item
            try:
                await send_all(self._bus, self._answers, messages)
            except TooLargeError:
                await send_all(self._bus, self._answers, [self._fitting(message) for message in messages])
            await until_available("acking", partial(self._receiver.ack, *batch.deliveries))
            self._watch.settled(batch.names)
            self._classified.task_done()

    def _fitting(self, message: Message) -> Message:
        """Return the message, or an error answer in place of one that is too large for the bus."""
        limit = self._bus.max_message_bytes
        if message.size <= limit:
            return message
        answer = Answer.from_message(message)
        return replace(
            answer, label=None, probabilities=(), error=f"an answer of {message.size} bytes is over the bus's {limit}"
        ).to_message()
