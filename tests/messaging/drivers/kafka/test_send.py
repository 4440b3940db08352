"""What `send` confirms, what it does not, and why; and that a full queue makes senders wait."""

import asyncio
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest

from visionbus.brokers.ports import HOST, free_ports
from visionbus.messaging import Message, NotFoundError, SendError, TooLargeError, UnavailableError, connect

pytestmark = pytest.mark.slow

MANY = 300_000
MARGIN = 5.0  # seconds that a busy machine may add


async def send(url, topic, *messages):
    async with connect(url) as bus:
        return await bus.send(topic, *messages)


def refused(url, topic, *messages):
    with pytest.raises(SendError) as caught:
        asyncio.run(send(url, topic, *messages))
    return caught.value


def small_topic(foreign, topic, partitions=4):
    """Make a topic that takes messages of 10,000 bytes at most, all told."""
    foreign.create(topic, partitions, max_message_bytes="10000")


@pytest.mark.parametrize("keyed", [True, False])
def test_too_large_messages_are_named_and_their_neighbours_arrive(kafka, foreign, topic, keyed):
    small_topic(foreign, topic)
    messages = [
        Message(b"%04d" % number + b"x" * (20_000 if number % 40 == 7 else 10), f"key-{number % 5}" if keyed else None)
        for number in range(400)
    ]
    large = [message for message in messages if len(message.data) > 10_000]
    error = refused(kafka.url, topic, *messages)
    assert [message for message, _ in error.unconfirmed] == large
    assert all(
        isinstance(reason, TooLargeError) and "max.message.bytes" in str(reason) for _, reason in error.unconfirmed
    )
    there = [record.value() for record in foreign.read(topic)]
    assert sorted(there) == [message.data for message in messages if message not in large]


def test_messages_that_are_too_large_only_together_arrive(kafka, foreign, topic):
    small_topic(foreign, topic, 1)
    messages = [Message(b"%04d" % number + b"x" * 4000) for number in range(50)]
    ids = asyncio.run(send(kafka.url, topic, *messages))
    assert sorted(ids) == sorted({f"{record.partition()}-{record.offset()}" for record in foreign.read(topic)})
    assert sorted(record.value() for record in foreign.read(topic)) == [message.data for message in messages]


def test_when_all_are_too_large_that_is_the_error(kafka, foreign, topic):
    small_topic(foreign, topic)
    for messages in ([Message(b"x" * 20_000)], [Message(b"x" * 20_000)] * 3):
        with pytest.raises(TooLargeError, match=r"max\.message\.bytes"):
            asyncio.run(send(kafka.url, topic, *messages))
    assert foreign.read(topic) == []


def test_ids_name_partition_and_offset_in_the_order_given(kafka, foreign, topic):
    foreign.create(topic, 4)
    messages = [Message(b"%d" % number, f"key-{number % 9}") for number in range(500)]
    ids = asyncio.run(send(kafka.url, topic, *messages))
    there = {f"{record.partition()}-{record.offset()}": record.value() for record in foreign.read(topic)}
    assert [there[one] for one in ids] == [message.data for message in messages]


@pytest.mark.parametrize("name", ["{}", "not a name of any topic", "ungültig", "x" * 300, "a/b", ".."])
def test_unknown_topic_is_not_found(kafka, topic, name):
    name = name.format(topic)
    with pytest.raises(NotFoundError, match="declare it first"):
        asyncio.run(send(kafka.url, name, Message(b"data")))


def test_broker_that_is_not_there_is_unavailable_after_the_time_that_the_url_says():
    url = f"kafka://{HOST}:{free_ports(1)[0]}?send_timeout=1"
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="check that the brokers run and that the URL names them"):
        asyncio.run(send(url, "images", Message(b"data")))
    assert time.monotonic() - begun < 1 + MARGIN


def test_broker_that_goes_away_is_unavailable_and_back_it_serves_the_same_sender(loose_kafka, topic):
    async def use():
        async with connect(f"{loose_kafka.url}?send_timeout=2") as bus:
            await bus.declare(topic, "workers")
            await bus.send(topic, Message(b"before"))
            loose_kafka.freeze(1)
            try:
                with pytest.raises(UnavailableError, match="check that the brokers run"):
                    await _until_refused(bus, topic, Message(b"meanwhile"), Message(b"too"))
                begun = time.monotonic()
                with pytest.raises(UnavailableError, match="check that the brokers run"):
                    await bus.send(topic, Message(b"meanwhile"))
                assert time.monotonic() - begun < 2 + MARGIN
            finally:
                loose_kafka.thaw(1)
            await _until_sent(bus, topic, Message(b"after"))

    asyncio.run(use())


async def _until_refused(bus, topic, *messages):
    while True:  # the broker stands still a moment after it was told to
        await bus.send(topic, *messages)


async def _until_sent(bus, topic, message):
    async with asyncio.timeout(30):
        while True:
            try:
                return await bus.send(topic, message)
            except UnavailableError:
                continue


@pytest.mark.parametrize("room", [1, 1000])
def test_full_queue_makes_senders_wait(kafka, foreign, topic, room):
    foreign.create(topic, 4)
    url = f"{kafka.url}?rdkafka.queue.buffering.max.messages={room}"
    count = MANY if room > 1 else 3000
    messages = [Message(b"%d" % number) for number in range(count)]

    async def use():
        async with connect(url) as bus:
            halves = await asyncio.gather(
                bus.send(topic, *messages[: count // 2]), bus.send(topic, *messages[count // 2 :])
            )
            return [one for half in halves for one in half]

    ids = asyncio.run(use())
    assert len(set(ids)) == count
    assert sum(foreign.ends(topic).values()) == count


def test_event_loop_turns_while_a_sender_waits_for_room(kafka, foreign, topic):
    foreign.create(topic, 4)
    url = f"{kafka.url}?rdkafka.queue.buffering.max.messages=100"

    async def use():
        turns = 0
        async with connect(url) as bus:
            sending = asyncio.create_task(bus.send(topic, *(Message(b"%d" % number) for number in range(20_000))))
            while not sending.done():
                turns += 1
                await asyncio.sleep(0)
            await sending
        return turns

    assert asyncio.run(use()) > 100


def test_sender_cancelled_while_it_waits_for_room_leaves_a_bus_that_sends(kafka, foreign, topic):
    foreign.create(topic, 1)
    url = f"{kafka.url}?rdkafka.queue.buffering.max.messages=10"

    async def use():
        async with connect(url) as bus:
            await bus.send(topic, Message(b"first"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await bus.send(topic, *(Message(b"many") for _ in range(20_000)))
            await bus.send(topic, Message(b"last"))

    asyncio.run(use())
    there = [record.value() for record in foreign.read(topic)]
    assert (there[0], there[-1]) == (b"first", b"last")
    assert len(there) < 20_000


def test_memory_of_a_sender_is_bounded_by_its_queue(kafka, foreign, topic):
    """Half a gigabyte goes out, sixteen messages of a megabyte at a time on their way."""
    foreign.create(topic, 4)
    url = f"{kafka.url}?rdkafka.queue.buffering.max.kbytes=16384"
    message = Message(b"x" * 900_000)

    async def use():
        async with connect(url) as bus:
            await bus.send(topic, *[message] * 20)
            forget_peak()
            before = peak()
            await bus.send(topic, *[message] * 500)
            return peak() - before

    def forget_peak():
        with suppress(PermissionError):  # the one so far may be another test's
            Path("/proc/self/clear_refs").write_text("5")

    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

    assert asyncio.run(use()) < 200_000
