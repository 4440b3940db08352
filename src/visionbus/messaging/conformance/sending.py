"""Promise 4: `send` returns once the broker holds all, and otherwise says what it does not hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import contents, finish, fresh_name, numbered
from visionbus.messaging.errors import NotFoundError, TooLargeError
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial

LIMIT = 1_000_000  # bytes, on every bus


@promise(4)
async def test_what_was_sent_is_there_when_the_sender_has_gone(trial: Trial) -> None:
    topic = await trial.topic()
    for number in range(5):
        await trial.send(topic, Message(b"%d" % number))
    assert sorted(contents(await finish(await trial.receiver(topic), 5))) == contents(numbered(5))


@promise(4)
async def test_a_thousand_messages_of_one_send_arrive(trial: Trial) -> None:
    topic = await trial.topic()
    assert len(await trial.send(topic, *numbered(1000))) == 1000
    received = await finish(await trial.receiver(topic), 1000)
    assert sorted(contents(received)) == sorted(contents(numbered(1000)))


@promise(4)
async def test_sends_at_once_by_several_connections_all_arrive(trial: Trial) -> None:
    topic = await trial.topic()
    buses = [await trial.bus() for _ in range(4)]
    sends = [buses[n % 4].send(topic, *numbered(5, prefix=f"{n}-")) for n in range(40)]
    ids = [name for names in await asyncio.gather(*sends) for name in names]
    received = await finish(await trial.receiver(topic), 200)
    assert {one.id for one in received} == set(ids)
    assert len(set(contents(received))) == 200


@promise(4)
async def test_sending_nothing_is_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    assert await trial.send(topic) == []


@promise(4, 11)
async def test_failure_that_all_share_is_raised_itself(trial: Trial) -> None:
    with pytest.raises(NotFoundError, match="declare"):
        await trial.send(fresh_name(), Message(b"one"), Message(b"two"))


@promise(4)
async def test_too_large_a_message_is_refused_before_anything_is_sent(trial: Trial) -> None:
    topic = await trial.topic()
    with pytest.raises(TooLargeError, match="message 1 of 2"):
        await trial.send(topic, Message(b"before", "key"), Message(bytes(LIMIT + 1)))
    await trial.send(topic, Message(b"after", "key"))
    assert contents(await finish(await trial.receiver(topic), 1)) == [b"after"]


@promise(4)
async def test_key_and_attributes_count_towards_the_size(trial: Trial) -> None:
    topic = await trial.topic()
    for large in (Message(bytes(LIMIT), "k"), Message(bytes(LIMIT - 1), attributes={"a": "b"})):
        with pytest.raises(TooLargeError):
            await trial.send(topic, large)


@promise(4)
async def test_bus_goes_on_after_a_send_was_cancelled(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    for turns in range(10):
        sending = asyncio.create_task(bus.send(topic, *numbered(20, prefix=f"cancelled-{turns}-")))
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
    confirmed = set(await bus.send(topic, *numbered(20)))
    receiver = await trial.receiver(topic)
    while confirmed:
        batch = await receiver.receive(100)
        await receiver.ack(*batch)
        confirmed.difference_update(one.id for one in batch)
