"""Storms: traffic over the tests' own server while that fails, one coroutine for each way to fail.

Each storm takes its traffic and says how many messages go through it. All may run side by side: each has a server of
its own, and what is sabotaged is sabotaged in the objects of that traffic alone.
"""

import asyncio
import os
import sys
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

from grpc import StatusCode

from visionbus.brokers.ports import HOST, free_ports
from visionbus.messaging import Message, connect
from visionbus.messaging.drivers.pubsub import stream

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "faults")]
from proxy import Proxy
from server import Fault, Server, Storm
from traffic import Traffic, name_of

LEASE = 10.0  # seconds: the shortest that Pub/Sub has
QUIET = 1.5 * LEASE  # without any news after which what is still missing is lost
AWAY = 10.0  # seconds
LIMIT = 75.0  # seconds for one storm, the end included
SENDERS = 2
PROJECT = "visionbus"
LIFE = (1, 5)  # responses of a stream that will break
BROKEN = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL)


class ServedTraffic(Traffic):
    """Traffic over a server of its own; what is left, the server itself tells. Every second message has a key."""

    def __init__(self, seed, sabotage=None, messages=10_000):
        super().__init__(f"pubsub://{PROJECT}", f"images-{uuid.uuid4().hex}", seed, quiet=QUIET)
        self.messages = messages
        self.server = Server(seed)
        self.host = None  # another one to go by than the server's
        self._sabotage = sabotage

    def message(self, number):
        return Message(b"%d" % number, f"key-{number % 10}" if number % 2 else None)

    def connect(self):
        os.environ["PUBSUB_EMULATOR_HOST"] = self.host or self.server.host  # read by `connect`, at once
        bus = connect(self.url)
        if self._sabotage:
            self._sabotage(bus._driver)
        return bus

    async def declare(self):
        async with self.connect() as bus:
            await bus.declare(self.topic, "workers")

    async def remaining(self, topic, subscription):
        return {name_of(one) for one in self.leasing(topic, subscription).unacked()}

    def leasing(self, topic, subscription):
        return self.server.service.leasing[f"projects/{PROJECT}/subscriptions/{topic}.{subscription}"]

    async def go(self, *, receivers=2, rest=0.0, during=None, **options):
        """Send all and receive all, with something happening during that; wait until all is settled."""
        tasks = [
            asyncio.create_task(self.receive(ack_deadline=LEASE, max_in_flight=2000, **options))
            for _ in range(receivers)
        ]
        sending = [asyncio.create_task(self.send(*range(first, self.messages, SENDERS))) for first in range(SENDERS)]
        if during is not None:
            await during()
        await asyncio.gather(*sending)
        await self.settle_all(*tasks, rest=rest)

    async def until_received(self, share):
        """Wait until so many came, or nothing more does."""
        now = asyncio.get_running_loop().time
        count, since = len(self.ledger.received), now()
        while count < share * self.messages and now() - since < QUIET:
            await asyncio.sleep(0.05)  # nobody tells
            if count != len(self.ledger.received):
                count, since = len(self.ledger.received), now()


async def run(storm, seed, *, sabotage=None, messages=10_000):
    """Give the verdict of a storm, with the traffic that it was about."""
    traffic = ServedTraffic(seed, sabotage, messages)
    async with asyncio.timeout(LIMIT), AsyncExitStack() as closing:
        await closing.enter_async_context(traffic.server)
        await traffic.declare()
        may_repeat = await storm(traffic, closing)
        return await traffic.verdict(may_repeat=bool(may_repeat)), traffic


async def streams_break(traffic, _):
    """Streams end again and again, with one status or another, and what was on its way in them comes again."""
    traffic.server.storm = Storm(codes=BROKEN, life=LIFE)
    await traffic.go()


async def streams_fall_silent(traffic, _):
    """Streams are not read and not written any more, though their connection stands."""
    traffic.server.storm = Storm(codes=BROKEN, life=LIFE, silent=0.5)
    traffic.server.heartbeat = stream.SILENCE / 3
    await traffic.go()


async def connections_fall_silent(traffic, closing):
    """What is on its way goes nowhere, connections stand: a half-open connection."""
    (port,) = free_ports(1)
    proxy = await closing.enter_async_context(Proxy(port, traffic.server.port, 0))
    traffic.host = f"{HOST}:{port}"

    async def freeze():
        for share in (0.2, 0.5):
            await traffic.until_received(share)
            proxy.freeze()

    await traffic.go(during=freeze, rest=LEASE + 1)
    return True  # acks may be among what goes nowhere: these come again


async def publishes_fail(traffic, _):
    """Some publishes fail for the moment, some are done and fail, some fail for good, and the others succeed."""
    traffic.server.faults = [
        Fault("Publish", StatusCode.UNAVAILABLE, share=0.1),
        Fault("Publish", StatusCode.DEADLINE_EXCEEDED, share=0.05, effect=True),
        Fault("Publish", StatusCode.PERMISSION_DENIED, share=0.02),
    ]
    await traffic.go()
    return True  # what was done and failed is sent again


async def acks_fail(traffic, _):
    """Some acks fail, some are done and fail, and the others succeed; so do nacks, extensions and new streams."""
    traffic.server.faults = [
        Fault("Acknowledge", StatusCode.UNAVAILABLE, share=0.3),
        Fault("Acknowledge", StatusCode.INTERNAL, share=0.2, effect=True),
        Fault("ModifyAckDeadline", StatusCode.UNAVAILABLE, share=0.3),
        Fault("StreamingPull", StatusCode.UNAVAILABLE, share=0.5),
    ]
    await traffic.go(rest=LEASE + 1)  # what was not acked comes again


async def server_is_away(traffic, _):
    """The server is gone for ten seconds, twice for a moment before, and comes back with all that it had."""

    async def leave():
        for share, seconds in ((0.1, 0.0), (0.2, 0.5), (0.4, AWAY)):
            await traffic.until_received(share)
            await traffic.server.stop()
            await asyncio.sleep(seconds)  # how long it is away
            await traffic.server.start()

    await traffic.go(during=leave, rest=LEASE + 1)
    return True  # leases run out meanwhile


async def messages_repeat(traffic, _):
    """Copies, redelivery of keys with all that is behind in them, any order: to one receiver, who remembers."""
    traffic.server.storm = Storm(copied=0.05, repeated=0.0002, shuffled=True)
    await traffic.go(receivers=1)


async def limits_hold(traffic, _):
    """A receiver that has as much as it wants does not get more from a server that keeps to the limits it was told."""
    most = 500
    outstanding = []
    leasing = traffic.leasing(traffic.topic, "workers")

    async def watch():
        traffic.pause_after = most
        await traffic.until_received(most / traffic.messages / 2)
        for _ in range(20):
            outstanding.append(leasing.messages_out.total())
            await asyncio.sleep(0.1)  # to see whether it grows
        traffic.go_on.set()

    receiving = traffic.receive

    async def receive_some(**options):
        await receiving(**options | {"max_in_flight": most})

    traffic.receive = receive_some
    await traffic.go(receivers=1, during=watch)
    if max(outstanding) > most:
        traffic.ledger.withheld |= {f"{max(outstanding)} out"}  # from others, who could have had them
