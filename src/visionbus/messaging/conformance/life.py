"""Promises 11 and 12: what is not declared or is closed says so, and closing gives back what is held."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.bus import connect
from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import WORKERS, contents, finish, fresh_name, numbered, take
from visionbus.messaging.errors import ClosedError, NotFoundError
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial

SECONDS = 10.0  # "seconds at most", on a busy machine


@promise(11)
async def test_undeclared_topic_is_not_found(trial: Trial) -> None:
    bus = await trial.bus()
    name = fresh_name()
    with pytest.raises(NotFoundError, match=name):
        await bus.send(name, Message(b"data"))
    with pytest.raises(NotFoundError, match=name):
        await bus.subscribe(name, WORKERS).__aenter__()


@promise(11)
async def test_undeclared_subscription_is_not_found(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    with pytest.raises(NotFoundError, match="others"):
        await bus.subscribe(topic, "others").__aenter__()


@promise(11)
async def test_looking_for_a_topic_does_not_make_it(trial: Trial) -> None:
    bus = await trial.bus()
    name = fresh_name()
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await bus.send(name, Message(b"data"))
    with pytest.raises(NotFoundError):
        await bus.subscribe(name, WORKERS).__aenter__()


@promise(11)
async def test_topic_can_be_declared_after_it_was_not_found(trial: Trial) -> None:
    bus = await trial.bus()
    name = fresh_name()
    with pytest.raises(NotFoundError):
        await bus.send(name, Message(b"early"))
    await bus.declare(name, WORKERS)
    await bus.send(name, Message(b"late"))
    assert contents(await finish(await trial.receiver(name), 1)) == [b"late"]


@promise(11)
async def test_topic_without_subscriptions_takes_messages(trial: Trial) -> None:
    bus = await trial.bus()
    name = fresh_name()
    await bus.declare(name)
    assert len(await bus.send(name, Message(b"nobody wants it"))) == 1


@promise(11)
async def test_what_one_connection_declares_the_others_find(trial: Trial) -> None:
    one, other = await trial.bus(), await trial.bus()
    name = fresh_name()
    await one.declare(name, WORKERS)
    await other.send(name, Message(b"data"))
    async with other.subscribe(name, WORKERS) as receiver:
        await finish(receiver, 1)


@promise(11)
async def test_declaring_by_several_at_once_is_as_once(trial: Trial) -> None:
    buses = [await trial.bus() for _ in range(4)]
    name = fresh_name()
    await asyncio.gather(*(bus.declare(name, WORKERS, "others") for bus in buses for _ in range(2)))
    await trial.send(name, *numbered(10))
    for subscription in (WORKERS, "others"):
        receiver = await trial.receiver(name, subscription)
        assert sorted(contents(await finish(receiver, 10))) == sorted(contents(numbered(10)))
        assert await receiver.receive(timeout=0.1) == []


@promise(11)
async def test_closed_bus_says_so(trial: Trial) -> None:
    topic = await trial.topic()
    async with connect(trial.url) as bus:
        subscription = bus.subscribe(topic, WORKERS)
    for verb in (bus.declare(topic), bus.send(topic, Message(b"")), bus.__aenter__(), subscription.__aenter__()):
        with pytest.raises(ClosedError):
            await verb
    with pytest.raises(ClosedError):
        bus.subscribe(topic, WORKERS)
    await bus.close()


@promise(11)
async def test_closed_subscription_says_so(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    (one,) = await take(receiver, 1)
    await receiver.close()
    for verb in (receiver.receive(), receiver.ack(one), receiver.nack(one), receiver.reject(one, reason="late")):
        with pytest.raises(ClosedError):
            await verb
    with pytest.raises(ClosedError):
        await receiver.__aenter__()
    await receiver.close()


@promise(11)
async def test_subscription_that_was_not_entered_says_so(trial: Trial) -> None:
    subscription = (await trial.bus()).subscribe(await trial.topic(), WORKERS)
    with pytest.raises(ClosedError, match="async with"):
        await subscription.receive()
    with pytest.raises(ClosedError, match="async with"):
        await anext(subscription)


@promise(11)
async def test_subscription_is_entered_once(trial: Trial) -> None:
    receiver = await trial.receiver(await trial.topic())
    with pytest.raises(ClosedError, match="once"):
        await receiver.__aenter__()


@promise(11, 12)
async def test_receives_that_wait_end_when_the_subscription_closes(trial: Trial) -> None:
    receiver = await trial.receiver(await trial.topic())
    waiting = [asyncio.create_task(receiver.receive()) for _ in range(3)]
    await asyncio.wait(waiting, timeout=0.05)
    await receiver.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, ClosedError)


@promise(11, 12)
async def test_receive_that_waits_for_room_ends_when_the_subscription_closes(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(2))
    receiver = await trial.receiver(topic, max_in_flight=1)
    await take(receiver, 1)
    waiting = asyncio.create_task(receiver.receive())
    await asyncio.wait([waiting], timeout=0.05)
    await receiver.close()
    with pytest.raises(ClosedError):
        await waiting


@promise(11, 12)
async def test_iteration_ends_when_the_subscription_closes(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    async for one in receiver:
        await receiver.ack(one)
        await receiver.close()


@promise(12)
async def test_close_gives_back_at_once_what_is_not_acked(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(50))
    receiver = await trial.receiver(topic, ack_deadline=600.0)
    taken = await take(receiver, 50)
    await receiver.ack(*taken[:20])
    other = await trial.receiver(topic)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(finish(other, 30))
        await asyncio.wait([waiting], timeout=0.05)
        await receiver.close()
    assert sorted(contents(waiting.result())) == sorted(contents(taken[20:]))


@promise(12)
async def test_closing_the_bus_closes_its_subscriptions(trial: Trial) -> None:
    topic = await trial.topic("one", "two")
    await trial.send(topic, *numbered(5))
    bus = await trial.bus()
    receivers = [await bus.subscribe(topic, name, ack_deadline=600.0).__aenter__() for name in ("one", "two")]
    for receiver in receivers:
        await take(receiver, 5)
    await bus.close()
    for name in ("one", "two"):
        assert len(await finish(await trial.receiver(topic, name), 5)) == 5


@promise(5, 12)
async def test_close_sends_the_acks_that_it_holds(trial: Trial) -> None:
    topic = await trial.topic()
    for turn in range(5):
        await trial.send(topic, *numbered(20, "key", f"{turn}-"))
        receiver = await trial.receiver(topic, ack_deadline=600.0)
        await receiver.ack(*await take(receiver, 20))
        await receiver.close()
    await trial.send(topic, Message(b"last", "key"))
    assert contents(await finish(await trial.receiver(topic), 1)) == [b"last"]


@promise(12)
async def test_close_takes_seconds_with_much_in_flight(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(1000))
    receiver = await trial.receiver(topic, ack_deadline=600.0)
    taken = await take(receiver, 1000)
    await receiver.nack(*taken[:300], delay=600.0)
    await receiver.ack(*taken[300:600])
    async with asyncio.timeout(SECONDS):
        await receiver.close()


@promise(12)
async def test_closing_twice_and_at_once_is_as_once(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    async with connect(trial.url) as bus:
        receiver = await bus.subscribe(topic, WORKERS).__aenter__()
        await take(receiver, 5)
        await asyncio.gather(receiver.close(), receiver.close(), bus.close(), bus.close())
    await receiver.close()
    assert len(await finish(await trial.receiver(topic), 5)) == 5
