"""What the Pub/Sub benchmarks share: an emulator with topics, and the clients that others are measured with.

PUBSUB_EMULATOR_HOST names an emulator to use; without it, Google's own is started here. Never run these against the
real service: what they send costs money there.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from bus_runs import bus_send
from contest import in_own_process
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from visionbus.brokers.pubsub import PROJECT, VARIABLE, PubsubEmulator
from visionbus.messaging import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = f"pubsub://{PROJECT}"
FILLING = 20  # batches on their way to a new topic: more messages of a key in one request
PATIENCE = 300  # seconds that the emulator may take for a message of them
WHERE = "the emulator on the same cores"


@contextmanager
def emulator() -> Iterator[None]:
    """The emulator that PUBSUB_EMULATOR_HOST names, or one of our own, which it then names, ended after."""
    if os.environ.get(VARIABLE):
        yield
        return
    with PubsubEmulator() as own:
        os.environ[VARIABLE] = own.host
        try:
            with topic("workers", filled=5_000):  # its first messages are its slowest ones
                pass
            yield
        finally:
            del os.environ[VARIABLE]


@contextmanager
def topic(*subscriptions: str, filled: int = 0, keys: bool = True) -> Iterator[str]:
    """A new topic with subscriptions, and so many messages in each, with keys or without."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    asyncio.run(_declare(name, *subscriptions))
    try:
        if filled:
            in_own_process(bus_send, f"{URL}?send_timeout={PATIENCE}", name, filled, FILLING, keys=keys)
        yield name
    finally:
        with SubscriberClient() as subscriber:
            for one in subscriptions:
                subscriber.delete_subscription(subscription=subscription_path(name, one))
        publisher = PublisherClient()
        publisher.delete_topic(topic=topic_path(name))
        publisher.transport.close()


async def _declare(name: str, *subscriptions: str) -> None:
    async with connect(URL) as bus:
        await bus.declare(name, *subscriptions)


def check_settled(name: str, subscription: str) -> None:
    """Raise if a subscription has a message to give; what others hold is not seen.

    The emulator fails this call where a client has left by cancelling its streams, as Google's `subscribe()` does.
    """
    with SubscriberClient() as subscriber:
        request = {"subscription": subscription_path(name, subscription), "max_messages": 10}
        if subscriber.pull(request | {"return_immediately": True}).received_messages:
            raise RuntimeError(f"there is more to receive from {subscription}")


def topic_path(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def subscription_path(name: str, subscription: str) -> str:
    """The bus's name of a subscription."""
    return f"projects/{PROJECT}/subscriptions/{name}.{subscription}"


def generated_client() -> SubscriberAsyncClient:
    """The generated asyncio client, which ignores PUBSUB_EMULATOR_HOST by itself."""
    channel = grpc.aio.insecure_channel(os.environ[VARIABLE])
    return SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))


def generated_publisher() -> PublisherAsyncClient:
    """The same for what sends."""
    channel = grpc.aio.insecure_channel(os.environ[VARIABLE])
    return PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
