"""Promise 6: whose loop turns keeps its messages, whose loop stands still or has died loses them to the others."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import pytest

from visionbus.messaging.bus import connect
from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import LEASE, WORKERS, contents, finish, numbered, take
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.message import Delivery
    from visionbus.messaging.subscription import Subscription

T = TypeVar("T")


@promise(6)
async def test_deadline_in_force_is_an_attribute_in_the_range_of_the_broker(trial: Trial) -> None:
    topic = await trial.topic()
    for asked in (1.0, 60.0, 600.0):
        receiver = await trial.receiver(topic, ack_deadline=asked)
        assert 1.0 <= receiver.ack_deadline <= 600.0
        await receiver.close()


@promise(6)
async def test_deadline_out_of_range_is_refused(trial: Trial) -> None:
    bus = await trial.bus()
    for seconds in (0.9, 601.0, float("nan")):
        with pytest.raises(ValueError, match="ack_deadline"):
            bus.subscribe("topic", WORKERS, ack_deadline=seconds)


@promise(6, slow=True)
async def test_slow_handler_keeps_its_message_while_its_loop_turns(trial: Trial) -> None:
    while True:
        topic = await trial.topic()
        receivers = [await trial.receiver(topic, ack_deadline=LEASE) for _ in range(2)]
        await trial.send(topic, Message(b"data"))
        async with _pauses() as pauses:
            slow, (one,) = await _first_to_receive(receivers)
            (other,) = (receiver for receiver in receivers if receiver is not slow)
            came = await other.receive(timeout=2.5 * slow.ack_deadline)
        if not came or max(pauses) < slow.ack_deadline / 2:  # else the machine let the loop stand still: once more
            break
    assert came == []
    await slow.ack(one)
    await slow.close()
    assert await other.receive(timeout=1.0) == []


@promise(6)
async def test_message_comes_again_after_its_longest_lease(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic, max_lease=0.1)
    (first,) = await take(receiver, 1)
    (second,) = await take(receiver, 1)
    assert (first.id, first.attempt) == (second.id, second.attempt - 1)


@promise(6)
async def test_ack_after_the_longest_lease_changes_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic, max_lease=0.1)
    (first,) = await take(receiver, 1)
    other = await trial.receiver(topic)
    _, (second,) = await _first_to_receive([receiver, other])
    await receiver.ack(first)
    await receiver.close()
    await other.close()
    (third,) = await take(await trial.receiver(topic), 1)
    assert first.id == second.id == third.id


@promise(6, slow=True)
async def test_messages_of_a_receiver_whose_loop_stands_still_come_to_the_others(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(3))
    other = await trial.receiver(topic, ack_deadline=LEASE)
    async with _elsewhere(trial, topic, 3) as frozen:
        frozen.stand_still()
        assert sorted(contents(await finish(other, 3))) == [b"0", b"1", b"2"]


@promise(6, slow=True)
async def test_late_acks_and_nacks_of_a_receiver_that_stood_still_change_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(6))
    async with _elsewhere(trial, topic, 6) as frozen:
        frozen.stand_still()
        other = await trial.receiver(topic)
        taken = await take(other, 6)
        await frozen.wake_and(lambda receiver, late: receiver.ack(*late[:3]))
        await frozen.wake_and(lambda receiver, late: receiver.nack(*late[3:], delay=0.0))
        await other.ack(taken[0])
        await other.close()
    again = await finish(await trial.receiver(topic), 5)
    assert sorted(contents(again)) == sorted(contents(taken[1:]))
    assert {one.attempt for one in again} == {1}


@promise(6, 10, slow=True)
async def test_receiver_that_stood_still_goes_on_afterwards(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(3))
    async with _elsewhere(trial, topic, 3, max_in_flight=3) as frozen:
        frozen.stand_still()
        other = await trial.receiver(topic)
        await finish(other, 3)
        await other.close()
        await trial.send(topic, *numbered(3, prefix="later-"))
        later = await frozen.wake_and(lambda receiver, _: finish(receiver, 3))
    assert sorted(contents(later)) == [b"later-0", b"later-1", b"later-2"]


@promise(6, 7, slow=True)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_messages_of_a_receiver_whose_loop_ended_without_closing_come_to_the_others(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(3))
    left = await asyncio.to_thread(_take_and_abandon, trial.url, topic, 3)
    receiver = await trial.receiver(topic, ack_deadline=LEASE)
    again = await finish(receiver, 3)
    assert sorted(contents(again)) == [b"0", b"1", b"2"]
    assert {one.attempt for one in again} == {1}
    left.clear()
    gc.collect()


@asynccontextmanager
async def _pauses() -> AsyncIterator[list[float]]:
    """Note for how long the loop stands still within the block, in seconds each time it is looked."""
    pauses = [0.0]

    async def watch() -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.05)
            before, pause = time.monotonic(), time.monotonic() - before
            pauses.append(pause)

    watching = asyncio.create_task(watch())
    try:
        yield pauses
        await asyncio.sleep(0.1)  # until the last one is noted, too
    finally:
        watching.cancel()


class _Elsewhere:
    """A receiver in a thread with a loop of its own, which can be made to stand still while it holds messages."""

    def __init__(self, receiver: Subscription, taken: list[Delivery]) -> None:
        self.ack_deadline = receiver.ack_deadline
        self._receiver = receiver
        self._taken = taken
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._wake = threading.Event()

    def stand_still(self) -> None:
        """Stop the loop from turning."""
        self._loop.call_soon_threadsafe(self._wake.wait)

    async def wake_and(self, verb: Callable[[Subscription, list[Delivery]], Coroutine[object, object, T]]) -> T:
        """Let the loop turn again, the verb being the first thing that it does."""
        done = asyncio.run_coroutine_threadsafe(verb(self._receiver, self._taken), self._loop)
        self._wake.set()
        return await asyncio.wrap_future(done)

    def end(self) -> None:
        self._wake.set()
        if self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)


@asynccontextmanager
async def _elsewhere(trial: Trial, topic: str, count: int, max_in_flight: int = 1000) -> AsyncIterator[_Elsewhere]:
    """Give a receiver in another thread that has taken so many messages; close it at the end."""
    made: Future[_Elsewhere] = Future()

    async def hold() -> None:
        async with (
            connect(trial.url) as bus,
            bus.subscribe(topic, WORKERS, ack_deadline=LEASE, max_in_flight=max_in_flight) as receiver,
        ):
            made.set_result(_Elsewhere(receiver, await take(receiver, count)))
            await asyncio.Event().wait()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(hold())

    thread = asyncio.ensure_future(asyncio.to_thread(run))
    elsewhere = await asyncio.wrap_future(made)
    trial.wait_for_leases_of(elsewhere.ack_deadline)
    try:
        yield elsewhere
    finally:
        elsewhere.end()
        await thread


def _take_and_abandon(url: str, topic: str, count: int) -> list[object]:
    """Receive in a loop that is then closed as if nothing were open; return what must not be collected meanwhile."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # tasks that are destroyed while pending: that is what is tried

    async def receive() -> list[object]:
        bus = await connect(url).__aenter__()
        receiver = await bus.subscribe(topic, WORKERS, ack_deadline=LEASE).__aenter__()
        return [bus, receiver, *await take(receiver, count), *asyncio.all_tasks()]

    kept = loop.run_until_complete(receive())
    loop.close()
    return kept


async def _first_to_receive(receivers: list[Subscription]) -> tuple[Subscription, list[Delivery]]:
    """Let several ask, and return the one that got something, with what it got."""
    asking = {asyncio.ensure_future(receiver.receive()): receiver for receiver in receivers}
    (first, *_), waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.wait(asking)
    return asking[first], first.result()
