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
from traffic import BATCH, Traffic, name_of

LEASE = 10.0  # seconds: the shortest that Pub/Sub has
QUIET = 2.5 * LEASE  # without any news after which what is still missing is lost
SOON = 3.0  # seconds: the same where something is bound to be missing
AWAY = 10.0  # seconds
LIMIT = 300.0  # seconds for one storm, the end included: several times what it takes
SURE = 10  # calls that fail first, where by chance none might
SENDERS = 2
PROJECT = "visionbus"
LIFE = (1, 5)  # responses of a stream that will break
BROKEN = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL)


class ServedTraffic(Traffic):
    """Traffic over a server of its own; what is left, the server itself tells. Every second message has a key."""

    def __init__(self, seed, sabotage=None, messages=10_000, quiet=QUIET):
        super().__init__(f"pubsub://{PROJECT}", f"images-{uuid.uuid4().hex}", seed, quiet=quiet)
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

    async def go(self, *, receivers=2, during=None, **options):
        """Send and receive, with something happening during that, then the last tenth; wait until all is settled."""
        tasks = [
            asyncio.create_task(self.receive(ack_deadline=LEASE, max_in_flight=2000, **options))
            for _ in range(receivers)
        ]
        await self.until(lambda: self.server.calls["StreamingPull"] >= receivers)
        last = self.messages * 9 // 10
        sending = [asyncio.create_task(self.send(*range(first, last, SENDERS))) for first in range(SENDERS)]
        if during is not None:
            await during()
        await asyncio.gather(*sending)
        await self.send(*range(last, self.messages))
        await self.settle_all(*tasks)

    def _is_awaited(self):
        """Whether the server, too, has something to hear, or to bring again."""
        return super()._is_awaited() or self.leasing(self.topic, "workers").unacked()

    async def until(self, condition, patience=None):
        """Wait until something holds, or there was news, and is none for so many seconds."""
        now = asyncio.get_running_loop().time
        news, since = self._news, now()
        while not condition() and (not self._news or now() - since < (patience or self._quiet)):
            await asyncio.sleep(0.05)  # nobody tells
            if news != self._news:
                news, since = self._news, now()

    async def until_received(self, share):
        """Wait until so many came, or nothing more does."""
        await self.until(lambda: len(self.ledger.received) >= share * self.messages)


async def run(storm, seed, *, sabotage=None, messages=10_000, quiet=QUIET):
    """Give the verdict of a storm, with the traffic that it was about."""
    traffic = ServedTraffic(seed, sabotage, messages, quiet)
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

    await traffic.go(during=freeze)
    return True  # acks may be among what goes nowhere: these come again


async def publishes_fail(traffic, _):
    """Some publishes fail for the moment, some are done and fail, some fail for good, and the others succeed."""
    traffic.server.faults = [
        Fault("Publish", StatusCode.UNAVAILABLE, times=SURE),
        Fault("Publish", StatusCode.UNAVAILABLE, share=0.1),
        Fault("Publish", StatusCode.DEADLINE_EXCEEDED, share=0.05, effect=True),
        Fault("Publish", StatusCode.PERMISSION_DENIED, share=0.02),
    ]
    await traffic.go()
    return True  # what was done and failed is sent again


async def acks_fail(traffic, _):
    """Some acks fail, some are done and fail, and the others succeed; so do nacks, extensions and new streams."""
    traffic.server.faults = [
        Fault("Acknowledge", StatusCode.UNAVAILABLE, times=SURE, tries=1),
        Fault("Acknowledge", StatusCode.UNAVAILABLE, share=0.3, tries=2),
        Fault("Acknowledge", StatusCode.INTERNAL, share=0.2, effect=True, tries=2),
        Fault("ModifyAckDeadline", StatusCode.UNAVAILABLE, share=0.3),
        Fault("StreamingPull", StatusCode.UNAVAILABLE, share=0.5),
    ]

    async def relent():
        await traffic.until_received(0.9)
        traffic.server.faults.clear()

    await traffic.go(during=relent)


async def server_is_away(traffic, _):
    """The server is gone for ten seconds, twice for a moment before, and comes back with all that it had."""

    async def leave():
        for share, seconds in ((0.1, 0.0), (0.2, 0.5), (0.4, AWAY)):
            await traffic.until_received(share)
            await traffic.server.stop()
            await asyncio.sleep(seconds)  # how long it is away
            await traffic.server.start()

    await traffic.go(during=leave)
    return True  # leases run out meanwhile


async def messages_repeat(traffic, _):
    """Copies, redelivery of keys with all that is behind in them, any order: to one receiver, who remembers."""
    traffic.server.storm = Storm(copied=0.05, repeated=0.0002, shuffled=True)
    traffic.server.faults = [Fault("Acknowledge", StatusCode.UNAVAILABLE)]

    async def repeat():
        """Have all again that is acked, as far as the receiver knows, and of which the server has not heard."""
        await traffic.until(lambda: len(traffic.ledger.acked) >= BATCH)
        traffic.leasing(traffic.topic, "workers").repeat(1.0, lambda: 0.0)
        traffic.server.faults.clear()

    await traffic.go(receivers=1, during=repeat)


async def limits_hold(traffic, _):
    """A receiver that has as much as it wants does not get more from a server that keeps to the limits it was told."""
    most = 500
    leasing = traffic.leasing(traffic.topic, "workers")
    await traffic.send(*range(traffic.messages))
    traffic.pause_after = most
    receiving = asyncio.create_task(traffic.receive(ack_deadline=LEASE, max_in_flight=most))
    await traffic.until_received(most / traffic.messages)
    await traffic.until(lambda: leasing.most_out > most, SOON)
    if leasing.most_out > most:
        traffic.ledger.withheld |= {f"{leasing.most_out} out"}  # from others, who could have had them
    traffic.go_on.set()
    await traffic.settle_all(receiving)
