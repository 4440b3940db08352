"""Promise 9: after its attempts a message is among the dead letters, and only hand-outs that failed are counted."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import WORKERS, contents, finish, numbered, take
from visionbus.messaging.dead_letters import original
from visionbus.messaging.message import Message
from visionbus.messaging.retry import Retry

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.message import Delivery
    from visionbus.messaging.subscription import Subscription

DEAD_LETTERS = "dead-letters"


async def _letters(trial: Trial, topic: str) -> Subscription:
    return await trial.receiver(f"{topic}.{WORKERS}.dead", DEAD_LETTERS)


async def _fails(receiver: Subscription, attempts: int) -> Delivery:
    """Nack a message so often; give its last delivery."""
    for attempt in range(1, attempts + 1):
        (one,) = await take(receiver, 1)
        assert one.attempt == attempt
        await receiver.nack(one)
    return one


@promise(9)
async def test_message_nacked_so_often_is_a_dead_letter(trial: Trial) -> None:
    topic = await trial.topic()
    message = Message(b"\0 data", "key", {"name": "value"})
    (name,) = await trial.send(topic, message)
    receiver = await trial.receiver(topic, retry=Retry(max_attempts=3, delay=0.0))
    last = await _fails(receiver, 3)
    (letter,) = await finish(await _letters(trial, topic), 1)
    assert original(letter.message) == message
    own = {key: value for key, value in letter.message.attributes.items() if key.startswith("visionbus-")}
    assert "3 attempts" in own.pop("visionbus-reason")
    assert datetime.fromisoformat(own.pop("visionbus-published")) == last.published
    assert own == {
        "visionbus-attempts": "3",
        "visionbus-source-id": name,
        "visionbus-source-subscription": WORKERS,
        "visionbus-source-topic": topic,
    }


@promise(9)
async def test_dead_letter_is_settled_where_it_failed(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"bad", "key"))
    receiver = await trial.receiver(topic, retry=Retry(max_attempts=1))
    await _fails(receiver, 1)
    await trial.send(topic, Message(b"good", "key"))
    assert contents(await finish(receiver, 1)) == [b"good"]
    await receiver.close()
    await trial.send(topic, Message(b"better", "key"))
    assert contents(await finish(await trial.receiver(topic), 1)) == [b"better"]


@promise(9)
async def test_each_subscription_has_its_own_dead_letters(trial: Trial) -> None:
    topic = await trial.topic("one", "two")
    await trial.send(topic, Message(b"data"))
    await _fails(await trial.receiver(topic, "one", retry=Retry(max_attempts=1)), 1)
    (other,) = await finish(await trial.receiver(topic, "two"), 1)
    assert other.attempt == 1
    (letter,) = await finish(await trial.receiver(f"{topic}.one.dead", DEAD_LETTERS), 1)
    assert letter.message.data == b"data"


@promise(9)
async def test_rejected_message_is_a_dead_letter_at_once(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(3))
    receiver = await trial.receiver(topic)
    await receiver.reject(*await take(receiver, 3), reason="not an image: \u00e9")
    letters = await finish(await _letters(trial, topic), 3)
    assert sorted(contents(letters)) == [b"0", b"1", b"2"]
    for letter in letters:
        assert letter.message.attributes["visionbus-reason"] == "not an image: \u00e9"
        assert letter.message.attributes["visionbus-attempts"] == "1"
    await trial.send(topic, Message(b"next"))
    assert contents(await finish(receiver, 1)) == [b"next"]


@promise(9)
async def test_reason_is_cut_to_what_a_broker_takes(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic)
    await receiver.reject(*await take(receiver, 1), reason="x" + "\u00e9" * 2000)
    (letter,) = await finish(await _letters(trial, topic), 1)
    assert letter.message.attributes["visionbus-reason"] == "x" + "\u00e9" * 511


@promise(9)
async def test_message_as_large_as_allowed_can_be_a_dead_letter(trial: Trial) -> None:
    topic = await trial.topic()
    attributes = {f"name-{number}": "v" * 1024 for number in range(90)}
    bare = Message(b"", "k" * 1024, attributes)
    await trial.send(topic, Message(bytes(1_000_000 - bare.size), bare.key, attributes))
    receiver = await trial.receiver(topic)
    await receiver.reject(*await take(receiver, 1), reason="r" * 1024)
    (letter,) = await finish(await _letters(trial, topic), 1)
    assert original(letter.message).size == 1_000_000


@promise(9)
async def test_hand_out_that_ran_out_counts_as_an_attempt(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    receiver = await trial.receiver(topic, max_lease=0.1, retry=Retry(max_attempts=2))
    for attempt in (1, 2):
        (one,) = await take(receiver, 1)
        assert one.attempt == attempt
    (letter,) = await finish(await _letters(trial, topic), 1)
    assert letter.message.data == b"data"
    assert letter.message.attributes["visionbus-attempts"] == "2"
    await receiver.ack(one)


@promise(9, 12)
async def test_closing_counts_no_attempt(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(3))
    for _ in range(4):
        receiver = await trial.receiver(topic, retry=Retry(max_attempts=1))
        assert {one.attempt for one in await take(receiver, 3)} == {1}
        await receiver.close()


@promise(9)
async def test_what_is_prefetched_counts_no_attempt(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(50))
    for _ in range(3):
        receiver = await trial.receiver(topic, retry=Retry(max_attempts=1))
        await take(receiver, 1)
        await receiver.close()
    assert {one.attempt for one in await finish(await trial.receiver(topic), 50)} == {1}


@promise(9)
async def test_each_message_is_acked_or_a_dead_letter_where_some_fail(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(100))
    receiver = await trial.receiver(topic, retry=Retry(max_attempts=2, delay=0.0))
    letters = await _letters(trial, topic)
    acked: set[bytes] = set()
    dead: set[bytes] = set()
    while len(acked) + len(dead) < 100:
        for one in await receiver.receive(20, timeout=0.05):
            if one.message.data.endswith(b"7"):
                await receiver.nack(one)
            else:
                await receiver.ack(one)
                acked.add(one.message.data)
        dead.update(contents(await letters.receive(20, timeout=0.0)))
    assert dead == {data for data in contents(numbered(100)) if data.endswith(b"7")}


@promise(9)
async def test_dead_letters_have_a_subscription_from_the_start(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    await _fails(await trial.receiver(topic, retry=Retry(max_attempts=1)), 1)
    bus = await trial.bus()
    await bus.declare(f"{topic}.{WORKERS}.dead", "further")
    assert contents(await finish(await _letters(trial, topic), 1)) == [b"data"]


@promise(9)
async def test_further_subscription_of_dead_letters_gets_them(trial: Trial) -> None:
    topic = await trial.topic()
    await (await trial.bus()).declare(f"{topic}.{WORKERS}.dead", "further")
    await trial.send(topic, Message(b"data"))
    await _fails(await trial.receiver(topic, retry=Retry(max_attempts=1)), 1)
    further = await trial.receiver(f"{topic}.{WORKERS}.dead", "further")
    assert contents(await finish(further, 1)) == [b"data"]


@promise(9)
async def test_dead_letters_are_tried_without_end(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    await _fails(await trial.receiver(topic, retry=Retry(max_attempts=1)), 1)
    letters = await trial.receiver(
        f"{topic}.{WORKERS}.dead", DEAD_LETTERS, retry=Retry(max_attempts=1, delay=0.0), max_lease=0.1
    )
    await _fails(letters, 5)
    (ran_out,) = await take(letters, 1)
    (again,) = await take(letters, 1)
    assert (ran_out.attempt, again.attempt) == (6, 7)


@promise(9)
async def test_dead_letter_cannot_be_rejected(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, Message(b"data"))
    await _fails(await trial.receiver(topic, retry=Retry(max_attempts=1)), 1)
    letters = await _letters(trial, topic)
    taken = await take(letters, 1)
    with pytest.raises(ValueError, match="dead letters"):
        await letters.reject(*taken, reason="again")
    await letters.ack(*taken)


@promise(9)
async def test_dead_letter_can_be_sent_once_more(trial: Trial) -> None:
    topic = await trial.topic()
    message = Message(b"data", "key", {"name": "value"})
    await trial.send(topic, message)
    receiver = await trial.receiver(topic, retry=Retry(max_attempts=1))
    await _fails(receiver, 1)
    letters = await _letters(trial, topic)
    (letter,) = await finish(letters, 1)
    await trial.send(topic, letter.message)
    (again,) = await take(receiver, 1)
    assert (again.message, again.attempt) == (message, 1)
    await receiver.nack(again)
    (second,) = await finish(letters, 1)
    assert second.message.attributes["visionbus-source-id"] == again.id
