"""Receivers of the driver on the tests' own server, with messages published for them."""

import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from google.pubsub_v1.types import pubsub

from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.pubsub.acked import AckedIds
from visionbus.messaging.drivers.pubsub.admin import Admin
from visionbus.messaging.drivers.pubsub.connection import Connection
from visionbus.messaging.drivers.pubsub.settings import PubsubSettings
from visionbus.messaging.drivers.pubsub.subscription import Limits, PubsubSubscription

sys.path.append(str(Path(__file__).parent))
from server import Server
from service import Service

TOPIC = "projects/visionbus/topics/images"
PATH = "projects/visionbus/subscriptions/images.workers"


def service(**options):
    """Give what a server knows, with one topic and one subscription."""
    made = Service(**options)
    made.create_topic(pubsub.Topic.pb()(name=TOPIC))
    made.create_subscription(pubsub.Subscription.pb()(name=PATH, topic=TOPIC, enable_message_ordering=True))
    return made


def publish(server, *data, key=""):
    """Publish each, and return the ids."""
    messages = [pubsub.PubsubMessage.pb()(data=str(one).encode(), ordering_key=key) for one in data]
    ids = []
    for start in range(0, len(messages), 1000):
        request = pubsub.PublishRequest.pb()(topic=TOPIC, messages=messages[start : start + 1000])
        ids += server.service.publish(request).message_ids
    return ids


@asynccontextmanager
async def connected(monkeypatch, host):
    """Give a connection to a server."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
    connection = Connection(PubsubSettings.parse(Address.parse("pubsub://visionbus")))
    try:
        yield connection
    finally:
        await connection.close()


class Bus:
    """A server and a connection to it."""

    def __init__(self, server, connection):
        self.server = server
        self.connection = connection
        self.acked = AckedIds()
        self.admin = Admin(connection, connection._settings)
        self.lost = []

    def receiver(self, *, ack_deadline=10.0, prefetch=1000, prefetch_bytes=1 << 24, streams=8, path=PATH):
        return PubsubSubscription(
            self.connection,
            path,
            ack_deadline=ack_deadline,
            limits=Limits(prefetch, prefetch_bytes, streams),
            lost=self.lost.extend,
            acked=self.acked,
            look=partial(self.admin.look_for_topic, "images", "workers"),
        )

    @asynccontextmanager
    async def receiving(self, **options):
        """Give a receiver that is open, and close it."""
        receiver = self.receiver(**options)
        try:
            await receiver.opened()
            yield receiver
        finally:
            await receiver.close()

    @property
    def leasing(self):
        """What the server knows of the messages."""
        return self.server.service.leasing[PATH]


@asynccontextmanager
async def serving(monkeypatch, seed=0, **options):
    """Give a bus."""
    async with Server(seed, service(**options)) as server, connected(monkeypatch, server.host) as connection:
        yield Bus(server, connection)


async def take(receiver, count, timeout=30.0):
    """Fetch so many."""
    taken = []
    while len(taken) < count:
        some = await receiver.fetch(count - len(taken), timeout)
        assert some, f"{len(taken)} of {count} came"
        taken += some
    return taken


async def finish(receiver, count):
    """Fetch and ack so many."""
    taken = []
    while len(taken) < count:
        some = await receiver.fetch(count - len(taken), 30.0)
        assert some, f"{len(taken)} of {count} came"
        await receiver.ack([one.lease for one in some])
        taken += some
    return taken


def contents(deliveries):
    return [one.message.data.decode() for one in deliveries]
