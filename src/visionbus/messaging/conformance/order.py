"""Promise 8: messages of one key arrive in order, and are in flight at one receiver at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import contents, finish, numbered, take
from visionbus.messaging.errors import ClosedError
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.bus import Bus
    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.message import Delivery
    from visionbus.messaging.subscription import Subscription

KEYS = ("red", "green", "blue", "\u00e9")


def _by_key(deliveries: list[Delivery]) -> dict[str | None, list[int]]:
    """Give the numbers of each key's messages, in the order they came; of a repeat, the first counts."""
    numbers: dict[str | None, dict[int, None]] = defaultdict(dict)
    for one in deliveries:
        numbers[one.message.key][int(one.message.data)] = None
    return {key: list(found) for key, found in numbers.items()}


def _mixed(trial: Trial, count: int) -> list[Message]:
    """Make so many messages of each key, interleaved at random, in order within each key."""
    order = [key for key in KEYS for _ in range(count)]
    trial.random.shuffle(order)
    counts = dict.fromkeys(KEYS, -1)
    messages = []
    for key in order:
        counts[key] += 1
        messages.append(Message(b"%d" % counts[key], key))
    return messages


@promise(8)
async def test_messages_of_a_key_arrive_in_order(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *_mixed(trial, 100))
    received = await finish(await trial.receiver(topic), 100 * len(KEYS))
    assert _by_key(received) == {key: list(range(100)) for key in KEYS}


@promise(8)
async def test_order_holds_over_several_sends_and_small_receives(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic, max_in_flight=7)
    messages = _mixed(trial, 40)
    received: list[Delivery] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_send_by_parts(trial, bus, topic, messages))
        while len(received) < len(messages):
            batch = await receiver.receive(trial.random.randrange(1, 10))
            received += batch
            trial.random.shuffle(batch)
            await receiver.ack(*batch)
    assert _by_key(received) == {key: list(range(40)) for key in KEYS}


@promise(8)
async def test_order_holds_over_receives_that_are_cancelled(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    received: list[Delivery] = []
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_one_by_one(bus, topic, 150))
        while len(received) < 150:
            receiving = asyncio.create_task(receiver.receive(20, linger=0.2))
            if not sending.done():
                await asyncio.wait([receiving], timeout=trial.random.uniform(0.0, 0.3))
                receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                received += receiving.result()
                await receiver.ack(*receiving.result())
    assert _by_key(received) == {"key": list(range(150))}


@promise(8)
async def test_order_holds_while_some_of_the_key_are_in_flight(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(10, "key"))
    receiver = await trial.receiver(topic)
    taken = await take(receiver, 4) + await take(receiver, 6)
    assert contents(taken) == contents(numbered(10))


@promise(8)
async def test_key_is_in_flight_at_one_receiver_at_a_time(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    watch = _Watch(trial)
    receivers = [await trial.receiver(topic) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for number, receiver in enumerate(receivers):
            group.create_task(watch.work(number, receiver))
        warm_up = 0
        while len(watch.busy) < len(receivers):  # until each takes part: what moves between receivers may lose order
            await bus.send(topic, *(Message(b"-1") for _ in range(30)))
            warm_up += 30
            await watch.reach(warm_up)
        await _send_by_parts(trial, bus, topic, _mixed(trial, 50))
        await watch.reach(warm_up + 50 * len(KEYS))
        for receiver in receivers:
            await receiver.close()
    keyed = [one for one in watch.received if one.message.key]
    assert _by_key(keyed) == {key: list(range(50)) for key in KEYS}


@promise(8)
async def test_key_moves_on_when_its_receiver_closes(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5, "key"))
    first = await trial.receiver(topic, ack_deadline=600.0)
    (one,) = await take(first, 1)
    other = await trial.receiver(topic)
    await first.ack(one)
    await first.close()
    missing = {b"1", b"2", b"3", b"4"}
    while missing:  # the first may come, too: what is in flight when a receiver joins may move to it
        batch = await other.receive(10)
        await other.ack(*batch)
        missing.difference_update(contents(batch))


@promise(8)
async def test_key_is_free_for_others_once_it_is_acked(trial: Trial) -> None:
    topic = await trial.topic()
    first, second = await trial.receiver(topic), await trial.receiver(topic)
    waiting = {asyncio.ensure_future(receiver.receive()): receiver for receiver in (first, second)}
    for number in range(20):
        await trial.send(topic, Message(b"%d" % number, "key"))
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            receiver = waiting.pop(task)
            await receiver.ack(*task.result())
            waiting[asyncio.ensure_future(receiver.receive())] = receiver
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def _send_one_by_one(bus: Bus, topic: str, count: int) -> None:
    for number in range(count):
        await bus.send(topic, Message(b"%d" % number, "key"))
        await asyncio.sleep(0.005)


async def _send_by_parts(trial: Trial, bus: Bus, topic: str, messages: list[Message]) -> None:
    left = list(messages)
    while left:
        size = trial.random.randrange(1, 15)
        await bus.send(topic, *left[:size])
        del left[:size]


class _Watch:
    """Sees what several receivers hold at a time."""

    def __init__(self, trial: Trial) -> None:
        self.received: list[Delivery] = []
        self.busy: set[int] = set()  # receivers that got something
        self._random = trial.random
        self._holders: dict[str, set[int]] = defaultdict(set)  # key: who has it in flight
        self._moved = asyncio.Event()

    async def work(self, number: int, receiver: Subscription) -> None:
        """Receive until closed, holding each batch for a moment."""
        with suppress(ClosedError):
            while True:
                batch = await receiver.receive(self._random.randrange(1, 6))
                self.busy.add(number)
                keys = {one.message.key for one in batch if one.message.key}
                for key in keys:
                    self._holders[key].add(number)
                    assert self._holders[key] == {number}, f"{key} is in flight at receivers {self._holders[key]}"
                await asyncio.sleep(self._random.random() * 0.005)
                for key in keys:
                    self._holders[key].discard(number)
                self.received += batch
                await receiver.ack(*batch)
                self._moved.set()

    async def reach(self, count: int) -> None:
        while len(self.received) < count:
            self._moved.clear()
            await self._moved.wait()
