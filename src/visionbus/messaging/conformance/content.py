"""Promise 1: a message comes out equal to what went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import finish, fresh_name, numbered, take
from visionbus.messaging.message import Message, received_message

if TYPE_CHECKING:
    from random import Random

    from visionbus.messaging.conformance.trial import Trial

TEXTS = (
    "plain",
    " spaces ",
    "nul\0 and \x01\x1f\x7f",
    "lines\r\nand\ttabs",
    "quotes ' \" ` \\ %s {} ;--",
    "composed \u00e9, decomposed e\u0301",
    "\ufeffbyte order mark",
    "\u202eright to left \u05d0",
    "beyond the first plane \U0001d11e \U0001f600",
    "not characters \uffff \ufdd0 \U0010ffff",
)
CLOCKS_DIFFER = timedelta(minutes=2)  # between this machine and a broker


async def _come_out_equal(trial: Trial, *messages: Message) -> None:
    topic = await trial.topic()
    ids = await trial.send(topic, *messages)
    deliveries = await finish(await trial.receiver(topic), len(messages))
    received = {one.id: one.message for one in deliveries}
    assert received == dict(zip(ids, messages, strict=True))


@promise(1)
async def test_bytes_of_every_value_come_out_equal(trial: Trial) -> None:
    every = bytes(range(256))
    await _come_out_equal(trial, Message(b""), Message(b"\0"), Message(every), Message(every * 100))


@promise(1)
async def test_empty_message_comes_out_equal(trial: Trial) -> None:
    await _come_out_equal(trial, Message(b""), Message(b"", "key"), Message(b"", attributes={"name": ""}))


@promise(1)
async def test_keys_of_any_text_come_out_equal(trial: Trial) -> None:
    await _come_out_equal(trial, *(Message(b"data", text) for text in (*TEXTS, "k" * 1024, "\u00e9" * 512)))


@promise(1)
async def test_attributes_of_any_text_come_out_equal(trial: Trial) -> None:
    both = [Message(b"data", attributes={text: text}) for text in TEXTS]
    together = Message(b"data", attributes=dict.fromkeys(TEXTS, ""))
    await _come_out_equal(trial, *both, together, Message(b"", attributes={"n" * 256: "v" * 1024}))


@promise(1)
async def test_as_many_attributes_as_allowed_come_out_equal(trial: Trial) -> None:
    await _come_out_equal(trial, Message(b"", attributes={f"name-{number}": str(number) for number in range(90)}))


@promise(1)
async def test_attributes_that_other_programs_use_come_out_equal(trial: Trial) -> None:
    cloud_event = {"ce-specversion": "1.0", "ce-id": "run/1", "ce-type": "a.b.v1", "content-type": "image/png"}
    await _come_out_equal(trial, Message(b"", attributes=cloud_event))


@promise(1)
async def test_message_of_the_largest_size_comes_out_equal(trial: Trial) -> None:
    small = Message(b"", "key", {"name": "value"})
    await _come_out_equal(trial, Message(trial.random.randbytes(1_000_000 - small.size), "key", {"name": "value"}))


@promise(1)
async def test_random_messages_come_out_equal(trial: Trial) -> None:
    await _come_out_equal(trial, *(_random_message(trial.random) for _ in range(200)))


@promise(1)
async def test_received_message_can_be_sent_on(trial: Trial) -> None:
    source, target = await trial.topic(), await trial.topic()
    await trial.send(source, _random_message(trial.random))
    (received,) = await take(await trial.receiver(source), 1)
    await trial.send(target, received.message)
    (relayed,) = await take(await trial.receiver(target), 1)
    assert relayed.message == received.message


@promise(1)
async def test_text_that_is_not_unicode_is_carried_or_refused(trial: Trial) -> None:
    odd = received_message(b"data", "key \udcff", {"name \udc80": "value \udcfe"})
    topic = await trial.topic()
    try:
        await trial.send(topic, odd)
    except ValueError:
        return
    (received,) = await take(await trial.receiver(topic), 1)
    assert received.message == odd


@promise(1)
async def test_ids_are_one_a_message_in_the_order_given(trial: Trial) -> None:
    topic = await trial.topic()
    messages = numbered(50)
    ids = await trial.send(topic, *messages)
    assert len(set(ids)) == 50
    received = {one.id: one.message for one in await finish(await trial.receiver(topic), 50)}
    assert [received[name] for name in ids] == messages


@promise(1)
async def test_delivery_tells_when_it_was_published_and_its_first_attempt(trial: Trial) -> None:
    topic = await trial.topic()
    before = datetime.now(UTC)
    await trial.send(topic, Message(b"data"))
    (received,) = await take(await trial.receiver(topic), 1)
    assert received.published.utcoffset() == timedelta(0)
    assert before - CLOCKS_DIFFER < received.published < datetime.now(UTC) + CLOCKS_DIFFER
    assert received.attempt == 1


@promise(1)
async def test_subscriptions_see_the_same_id(trial: Trial) -> None:
    topic = await trial.topic("one", "two")
    (name,) = await trial.send(topic, Message(fresh_name().encode()))
    for subscription in ("one", "two"):
        (received,) = await take(await trial.receiver(topic, subscription), 1)
        assert received.id == name


def _random_message(random: Random) -> Message:
    key = _random_text(random) if random.random() < 0.5 else None
    attributes = {f"{number}{_random_text(random)}": _random_text(random) for number in range(random.randrange(6))}
    return Message(random.randbytes(random.randrange(3000)), key, attributes)


def _random_text(random: Random) -> str:
    """Give up to 50 characters of any plane, surrogates apart."""
    numbers = (random.choice((random.randrange(0xD800), random.randrange(0xE000, 0x110000))) for _ in range(50))
    return "".join(map(chr, numbers))[: random.randrange(50)]
