"""Google's own high-level client reads what we publish, and we read what it publishes."""

import asyncio
import queue

import pytest
from google.cloud import pubsub_v1

from visionbus.messaging import Message, connect

MESSAGES = [
    Message(b"plain"),
    Message(bytes(range(256)), "key", {"kind": "binary"}),
    Message(b"", "schlüssel", {"größe": "5 µm", "empty": ""}),
    Message("größer".encode(), "key"),
]
PATIENCE = 30.0  # seconds


def plain(message):
    """A message of Google's client as ours."""
    return Message(message.data, message.ordering_key or None, dict(message.attributes))


def test_googles_client_reads_what_we_send(pubsub, topic):
    async def send():
        async with connect(pubsub.url) as bus:
            await bus.declare(topic, "workers")
            return await bus.send(topic, *MESSAGES)

    ids = asyncio.run(send())
    received = queue.SimpleQueue()

    def callback(message):
        received.put((message.message_id, plain(message)))
        message.ack()

    with pubsub_v1.SubscriberClient() as subscriber:
        pulling = subscriber.subscribe(subscriber.subscription_path("visionbus", f"{topic}.workers"), callback)
        there = dict(received.get(timeout=PATIENCE) for _ in MESSAGES)
        pulling.cancel()
        pulling.result(PATIENCE)
    assert there == dict(zip(ids, MESSAGES, strict=True))


@pytest.mark.parametrize("names", ["", "?names=verbatim"])
def test_we_read_what_googles_client_publishes(pubsub, topic, names):
    publisher = pubsub_v1.PublisherClient(
        publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    )
    path = publisher.topic_path("visionbus", topic)
    publisher.create_topic(name=path)
    name = f"{topic}-workers" if names else f"{topic}.workers"
    with pubsub_v1.SubscriberClient() as subscriber:
        whole = subscriber.subscription_path("visionbus", name)
        subscriber.create_subscription({"name": whole, "topic": path, "enable_message_ordering": True})
    published = [publisher.publish(path, message.data, message.key or "", **message.attributes) for message in MESSAGES]
    ids = [one.result(PATIENCE) for one in published]

    async def receive():
        there = {}
        async with (
            connect(f"{pubsub.url}{names}") as bus,
            bus.subscribe(topic, name if names else "workers") as receiver,
        ):
            while len(there) < len(MESSAGES):
                batch = await receiver.receive(10)
                there |= {one.id: one.message for one in batch}
                await receiver.ack(*batch)
        return there

    assert asyncio.run(receive()) == dict(zip(ids, MESSAGES, strict=True))


def test_empty_message_of_ours_is_one_with_a_mark_to_others(pubsub, topic):
    async def send():
        async with connect(pubsub.url) as bus:
            await bus.declare(topic, "workers")
            await bus.send(topic, Message(b"", "key"))

    asyncio.run(send())
    with pubsub_v1.SubscriberClient() as subscriber:
        answer = subscriber.pull(
            subscription=subscriber.subscription_path("visionbus", f"{topic}.workers"), max_messages=1
        )
    (received,) = answer.received_messages
    assert received.message.data == b""
    assert received.message.ordering_key == "key"
    assert dict(received.message.attributes) == {"visionbus-empty": "1"}
