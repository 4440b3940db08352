"""Promises 5 and 6: what is acked never comes again, what is nacked comes again after its delay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import LEASE, contents, finish, numbered, take
from visionbus.messaging.message import Message
from visionbus.messaging.retry import Retry

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial

AT_ONCE = Retry(max_attempts=99, delay=0.0)


@promise(5)
async def test_acks_in_any_order_settle_their_own_messages_and_no_others(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(200))
    receiver = await trial.receiver(topic)
    taken = await take(receiver, 200)
    trial.random.shuffle(taken)
    acked, left = taken[:120], taken[120:]
    for start in range(0, 120, 7):
        await receiver.ack(*acked[start : start + 7])
    await receiver.close()
    again = await finish(await trial.receiver(topic), 80)
    assert sorted(contents(again)) == sorted(contents(left))


@promise(5)
async def test_last_message_acked_first_leaves_the_others(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(10, "key"))
    receiver = await trial.receiver(topic)
    taken = await take(receiver, 10)
    await receiver.ack(taken[-1])
    await receiver.close()
    again = await finish(await trial.receiver(topic), 9)
    assert sorted(contents(again)) == sorted(contents(taken[:-1]))


@promise(5, slow=True)
async def test_acked_message_does_not_come_when_its_lease_would_have_ended(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(20))
    receiver = await trial.receiver(topic, ack_deadline=LEASE)
    await finish(receiver, 20)
    other = await trial.receiver(topic, ack_deadline=LEASE)
    ends = 1.5 * receiver.ack_deadline
    assert not any(await asyncio.gather(receiver.receive(timeout=ends), other.receive(timeout=ends)))
    await receiver.close()
    await other.close()
    assert await (await trial.receiver(topic)).receive(timeout=1.0) == []


@promise(5)
async def test_acking_twice_is_harmless(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"first"))
    receiver = await trial.receiver(topic)
    (first,) = await take(receiver, 1)
    await receiver.ack(first, first)
    await receiver.ack(first)
    await trial.send(topic, Message(b"second"))
    assert contents(await finish(receiver, 1)) == [b"second"]
    await receiver.ack(first)


@promise(5)
async def test_acking_nothing_is_nothing(trial: Trial) -> None:
    receiver = await trial.receiver(await trial.topic())
    await receiver.ack()
    await receiver.nack()
    await receiver.reject(reason="none")


@promise(5)
async def test_ack_of_one_subscription_leaves_the_other(trial: Trial) -> None:
    topic = await trial.topic("one", "two")
    await trial.send(topic, *numbered(10))
    await finish(await trial.receiver(topic, "one"), 10)
    assert len(await finish(await trial.receiver(topic, "two"), 10)) == 10


@promise(5)
async def test_nack_after_the_ack_changes_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"first", "key"))
    receiver = await trial.receiver(topic, retry=AT_ONCE)
    (first,) = await take(receiver, 1)
    await receiver.ack(first)
    await receiver.nack(first)
    await receiver.reject(first, reason="too late")
    await trial.send(topic, Message(b"second", "key"))
    assert contents(await finish(receiver, 1)) == [b"second"]


@promise(5, 6)
async def test_ack_of_an_earlier_hand_out_changes_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic, retry=AT_ONCE)
    (first,) = await take(receiver, 1)
    await receiver.nack(first)
    (second,) = await take(receiver, 1)
    await receiver.ack(first)
    await receiver.close()
    (third,) = await take(await trial.receiver(topic), 1)
    assert first.id == second.id == third.id


@promise(6)
async def test_nacked_message_is_delivered_again_and_its_attempt_counted(trial: Trial) -> None:
    topic = await trial.topic()
    message = Message(b"data", "key", {"name": "value"})
    await trial.send(topic, message)
    receiver = await trial.receiver(topic, retry=AT_ONCE)
    (first,) = await take(receiver, 1)
    await receiver.nack(first)
    (second,) = await take(receiver, 1)
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.id, first.message, first.published) == (second.id, second.message, second.published)
    assert second.message == message


@promise(6)
async def test_nacked_message_waits_for_its_delay(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    (first,) = await take(receiver, 1)
    now = asyncio.get_running_loop().time
    nacked = now()
    await receiver.nack(first, delay=0.2)
    await take(receiver, 1)
    assert now() - nacked >= 0.2


@promise(6)
async def test_nack_without_a_delay_waits_as_retry_says(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic, retry=Retry(delay=0.05, factor=2.0))
    now = asyncio.get_running_loop().time
    (one,) = await take(receiver, 1)
    for least in (0.05, 0.1):
        nacked = now()
        await receiver.nack(one)
        (one,) = await take(receiver, 1)
        assert now() - nacked >= least


@promise(6)
async def test_nacked_message_lets_the_others_pass(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(5))
    receiver = await trial.receiver(topic)
    (first, *_) = taken = await take(receiver, 5)
    await receiver.nack(first, delay=600.0)
    await receiver.ack(*taken)
    await trial.send(topic, *numbered(5, prefix="later-"))
    assert len(await finish(receiver, 5)) == 5


@promise(6)
async def test_message_that_waits_for_its_delay_comes_when_its_receiver_has_closed(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    (one,) = await take(receiver, 1)
    await receiver.nack(one, delay=0.15)
    await receiver.close()
    assert contents(await take(await trial.receiver(topic), 1)) == [b"data"]


@promise(6)
async def test_many_messages_nacked_at_once_all_come_again(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(100))
    receiver = await trial.receiver(topic, retry=AT_ONCE)
    first = await take(receiver, 100)
    await receiver.nack(*first)
    again = await finish(receiver, 100)
    assert sorted(contents(again)) == sorted(contents(first))
    assert {one.attempt for one in again} == {2}


@promise(6)
async def test_delay_that_is_no_number_of_seconds_is_refused(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    (one,) = await take(receiver, 1)
    for delay in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="delay"):
            await receiver.nack(one, delay=delay)
