"""Promises 2 and 3: a subscription gets all that was sent after its declaration, and its receivers share it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import LEASE, WORKERS, contents, finish, numbered, take
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.bus import Bus
    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.subscription import Subscription


@promise(2)
async def test_messages_wait_for_a_receiver(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(20))
    received = await finish(await trial.receiver(topic), 20)
    assert sorted(contents(received)) == sorted(contents(numbered(20)))


@promise(2)
async def test_messages_wait_while_no_receiver_is_there(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"first"))
    receiver = await trial.receiver(topic)
    await finish(receiver, 1)
    await receiver.close()
    await trial.send(topic, Message(b"second"))
    assert contents(await finish(await trial.receiver(topic), 1)) == [b"second"]


@promise(2)
async def test_receiver_that_waits_gets_what_another_connection_sends(trial: Trial) -> None:
    topic = await trial.topic()
    receiver = await trial.receiver(topic)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(finish(receiver, 3))
        for message in numbered(3):
            await trial.send(topic, message)
    assert sorted(contents(waiting.result())) == [b"0", b"1", b"2"]


@promise(2)
async def test_subscription_gets_all_that_is_sent_after_its_declaration_under_traffic(trial: Trial) -> None:
    topic = await trial.topic()
    bus, declaring = await trial.bus(), await trial.bus()
    sender = _Sender(bus, topic)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sender.run())
        promised = []
        for number in range(5):
            await declaring.declare(topic, f"late-{number}")
            promised.append(sender.begun)
        await sender.reach(sender.begun + 20)
        sending.cancel()
    for number, first in enumerate(promised):
        expected = {b"%d" % index for index in range(first, sender.confirmed)}
        await _get_at_least(await trial.receiver(topic, f"late-{number}"), expected)


@promise(2)
async def test_declaring_again_leaves_what_waits(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    bus = await trial.bus()
    await bus.declare(topic, WORKERS)
    await bus.declare(topic, "further")
    await finish(await trial.receiver(topic), 5)


@promise(2)
async def test_declaring_again_brings_back_nothing_that_was_acked(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    receiver = await trial.receiver(topic)
    await finish(receiver, 5)
    await receiver.close()
    await (await trial.bus()).declare(topic, WORKERS)
    await trial.send(topic, Message(b"new"))
    assert contents(await finish(await trial.receiver(topic), 1)) == [b"new"]


@promise(3)
async def test_each_subscription_gets_all(trial: Trial) -> None:
    topic = await trial.topic("one", "two", "three")
    await trial.send(topic, *numbered(20))
    for subscription in ("one", "two", "three"):
        received = await finish(await trial.receiver(topic, subscription), 20)
        assert sorted(contents(received)) == sorted(contents(numbered(20)))


@promise(3)
async def test_subscriptions_of_one_name_on_two_topics_are_apart(trial: Trial) -> None:
    one, two = await trial.topic(), await trial.topic()
    await trial.send(one, Message(b"one"))
    await trial.send(two, Message(b"two"))
    assert contents(await finish(await trial.receiver(two), 1)) == [b"two"]
    assert contents(await finish(await trial.receiver(one), 1)) == [b"one"]


@promise(3)
async def test_receivers_of_one_subscription_share(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    tally = _Tally()
    receivers = [await trial.receiver(topic) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tally.work(str(number), receiver)) for number, receiver in enumerate(receivers)]
        while len(tally.got) < 3:
            await tally.reach(await _send_more(bus, topic, tally.total()))
        for task in tasks:
            task.cancel()
    deliveries = sum(len(got) for got in tally.got.values())
    assert deliveries < 1.5 * tally.total(), "receivers that share get a message once each, but for an odd repeat"
    for receiver in receivers:
        assert await receiver.receive(timeout=0.05) == []


@promise(3)
async def test_receiver_that_joins_later_gets_some(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    tally = _Tally()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tally.work("early", await trial.receiver(topic)))]
        await tally.reach(await _send_more(bus, topic, 0))
        tasks.append(group.create_task(tally.work("late", await trial.receiver(topic))))
        while "late" not in tally.got:
            await tally.reach(await _send_more(bus, topic, tally.total()))
        for task in tasks:
            task.cancel()


@promise(3, slow=True)
async def test_what_an_idle_receiver_does_not_ask_for_comes_to_the_others(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.receiver(topic, ack_deadline=LEASE)
    other = await trial.receiver(topic, ack_deadline=LEASE)
    messages = [Message(b"%d" % number, f"key-{number}") for number in range(20)]
    await trial.send(topic, *messages)
    assert sorted(contents(await finish(other, 20))) == sorted(contents(messages))


@promise(3)
async def test_what_an_idle_receiver_nacked_comes_to_the_others(trial: Trial) -> None:
    topic = await trial.topic()
    idle = await trial.receiver(topic, ack_deadline=LEASE)
    await trial.send(topic, Message(b"a", "key"))
    await idle.nack(*await take(idle, 1), delay=0.1)
    other = await trial.receiver(topic, ack_deadline=LEASE)
    assert contents(await finish(other, 1)) == [b"a"]


@promise(3, 6)
async def test_loop_turns_while_messages_never_run_out(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(100))
    receiver = await trial.receiver(topic)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as group:
        turning = group.create_task(turn())
        for _ in range(100):
            await receiver.ack(*await receiver.receive())
        turning.cancel()
    assert turns >= 50, "leases are extended only while the loop turns"


class _Sender:
    """Sends numbers one by one, and tells how far it has come."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self.begun = 0  # sends begun: the next one carries this number
        self.confirmed = 0
        self._bus = bus
        self._topic = topic
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        while True:
            message = Message(b"%d" % self.begun)
            self.begun += 1
            await self._bus.send(self._topic, message)
            self.confirmed = self.begun
            async with self._moved:
                self._moved.notify_all()
            await asyncio.sleep(0)

    async def reach(self, confirmed: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self.confirmed >= confirmed)


class _Tally:
    """What several receivers got; each acks all that it gets."""

    def __init__(self) -> None:
        self.got: dict[str, set[bytes]] = {}  # by the receiver's name
        self._moved = asyncio.Event()

    async def work(self, name: str, receiver: Subscription) -> None:
        async for one in receiver:
            await receiver.ack(one)
            self.got.setdefault(name, set()).add(one.message.data)
            self._moved.set()

    def total(self) -> int:
        return len(set[bytes]().union(*self.got.values()))

    async def reach(self, total: int) -> None:
        while self.total() < total:
            self._moved.clear()
            await self._moved.wait()


async def _send_more(bus: Bus, topic: str, already: int) -> int:
    """Send 30 more, and return how many there are by then."""
    await bus.send(topic, *numbered(30, prefix=f"{already}-"))
    return already + 30


async def _get_at_least(receiver: Subscription, expected: set[bytes]) -> None:
    missing = set(expected)
    while missing:
        batch = await receiver.receive(100)
        await receiver.ack(*batch)
        missing.difference_update(contents(batch))
