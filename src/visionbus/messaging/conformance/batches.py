"""Promise 10: a receive returns with the first message, what is in flight is bounded, and nothing busy-waits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import contents, finish, fresh_name, numbered, take
from visionbus.messaging.message import Message
from visionbus.messaging.retry import Retry

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.subscription import Subscription

FOR_EVER = 3600.0  # seconds: longer than any test may take


@promise(10)
async def test_receive_returns_with_the_first_message(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"only"))
    assert contents(await (await trial.receiver(topic)).receive(100)) == [b"only"]


@promise(10)
async def test_receive_returns_no_more_than_asked(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(30))
    receiver = await trial.receiver(topic)
    left = 30
    while left:
        batch = await receiver.receive(7)
        assert 1 <= len(batch) <= 7
        left -= len(batch)
    assert len(await receiver.receive(timeout=0.0)) == 0


@promise(10)
async def test_receive_without_a_message_returns_nothing_after_its_timeout(trial: Trial) -> None:
    receiver = await trial.receiver(await trial.topic())
    now = asyncio.get_running_loop().time
    for timeout in (0.0, 0.2):
        begun = now()
        assert await receiver.receive(10, timeout=timeout, linger=FOR_EVER) == []
        assert now() - begun >= timeout - time.get_clock_info("monotonic").resolution


@promise(10)
async def test_linger_ends_when_the_batch_is_full(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(receiver.receive(3, linger=FOR_EVER))
        for message in numbered(3):
            await bus.send(topic, message)
    assert len(receiving.result()) == 3


@promise(10)
async def test_linger_ends_when_no_more_may_be_in_flight(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    receiver = await trial.receiver(topic, max_in_flight=3)
    await take(receiver, 1)
    assert len(await receiver.receive(10, linger=FOR_EVER)) == 2


@promise(10)
async def test_linger_counts_from_the_first_message(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    now = asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(receiver.receive(10, linger=0.15))
        assert not (await asyncio.wait([receiving], timeout=0.2))[0], "nothing is there yet"
        sent = now()
        await bus.send(topic, Message(b"first"))
    assert now() - sent >= 0.15
    assert contents(receiving.result()) == [b"first"]


@promise(10)
async def test_linger_gathers_what_comes_meanwhile(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    gathered: list[bytes] = []
    async with asyncio.TaskGroup() as group:
        for message in numbered(6):
            group.create_task(bus.send(topic, message))
        while len(gathered) < 6:
            gathered += contents(await receiver.receive(10, linger=0.15))
    assert sorted(gathered) == sorted(contents(numbered(6)))


@promise(10)
async def test_no_more_are_in_flight_than_allowed(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(20))
    receiver = await trial.receiver(topic, max_in_flight=5)
    held = await take(receiver, 5)
    assert await receiver.receive(10, timeout=0.2) == []
    for verb in (receiver.ack, receiver.nack):
        await verb(held.pop())
        held += await take(receiver, 1)
        assert await receiver.receive(10, timeout=0.05) == []
    await receiver.reject(held.pop(), reason="makes room too")
    await take(receiver, 1)


@promise(10)
async def test_no_more_are_in_flight_than_allowed_whatever_receives_at_once(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(200))
    receiver = await trial.receiver(topic, max_in_flight=8)
    counter = _InFlight(receiver, trial)
    await asyncio.gather(*(counter.work(200) for _ in range(6)))
    assert counter.most <= 8


@promise(10)
async def test_receive_that_waits_for_room_goes_on_when_there_is_some(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(2))
    receiver = await trial.receiver(topic, max_in_flight=1)
    (first,) = await take(receiver, 1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(receiver.receive())
        await asyncio.sleep(0)
        await receiver.ack(first)
    assert len(waiting.result()) == 1


@promise(10)
async def test_message_that_ran_out_makes_room(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(2))
    receiver = await trial.receiver(topic, max_in_flight=1, max_lease=0.1, retry=Retry(max_attempts=1))
    await take(receiver, 1)
    await take(receiver, 1)


@promise(10)
async def test_delayed_retries_leave_room_for_others_to_be_received(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(10))
    receiver = await trial.receiver(topic, max_in_flight=10)
    taken = await take(receiver, 10)
    await receiver.nack(*taken[:5], delay=FOR_EVER)
    await receiver.ack(*taken[5:])
    await trial.send(topic, *numbered(5, prefix="later-"))
    assert len(await finish(receiver, 5)) == 5


@promise(10, slow=True)
async def test_waiting_takes_no_processor_time(trial: Trial) -> None:
    topic = await trial.topic()
    receivers = [await trial.receiver(topic, max_in_flight=1) for _ in range(2)]
    await asyncio.gather(*(receiver.receive(timeout=0.5) for receiver in receivers))
    used = time.process_time()
    await asyncio.gather(*(receiver.receive(timeout=2.0) for receiver in receivers))
    used = time.process_time() - used
    assert used < 0.4, f"two idle receivers took {used:.2f} s of processor time in 2 s"


@promise(10, slow=True)
async def test_waiting_for_room_takes_no_processor_time(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    receiver = await trial.receiver(topic, max_in_flight=2)
    await take(receiver, 2)
    used = time.process_time()
    assert await receiver.receive(timeout=2.0) == []
    used = time.process_time() - used
    assert used < 0.4, f"a receiver without room took {used:.2f} s of processor time in 2 s"


@promise(10)
async def test_counts_and_times_out_of_range_are_refused(trial: Trial) -> None:
    receiver = await trial.receiver(await trial.topic())
    with pytest.raises(ValueError, match="max_messages"):
        await receiver.receive(0)
    with pytest.raises(ValueError, match="linger"):
        await receiver.receive(linger=-1.0)
    with pytest.raises(ValueError, match="timeout"):
        await receiver.receive(timeout=-1.0)
    bus = await trial.bus()
    with pytest.raises(ValueError, match="max_in_flight"):
        bus.subscribe(fresh_name(), "workers", max_in_flight=0)
    with pytest.raises(ValueError, match="max_lease"):
        bus.subscribe(fresh_name(), "workers", max_lease=0.0)


class _InFlight:
    """Counts what is handed out and not yet acked, over all tasks that work at once."""

    def __init__(self, receiver: Subscription, trial: Trial) -> None:
        self.most = 0
        self._now = 0
        self._done = 0
        self._receiver = receiver
        self._random = trial.random

    async def work(self, total: int) -> None:
        while self._done < total:
            batch = await self._receiver.receive(self._random.randrange(1, 12), timeout=0.05)
            self._now += len(batch)
            self.most = max(self.most, self._now)
            await asyncio.sleep(self._random.random() * 0.002)
            self._now -= len(batch)
            await self._receiver.ack(*batch)
            self._done += len(batch)
