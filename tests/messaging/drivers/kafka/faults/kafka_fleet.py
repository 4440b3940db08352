"""Fleets on Kafka: what their groups have committed, and the protocol that they use."""

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

sys.path.append(str(Path(__file__).parents[3] / "faults"))
from fleet import LOOK, Kind, run_fault, seed_of_run


def run(fault, url, *arguments, sabotage=None, **options):
    """Run one fault, a coroutine function that takes a fleet, and return the verdict.

    Where the URL does not name the group protocol, it is chosen by the seed.
    """
    seed = seed_of_run()
    if "group_protocol" not in url:
        protocol = random.Random(seed).choice(["consumer", "classic"])
        url = f"{url}{'&' if '?' in url else '?'}group_protocol={protocol}"
    return run_fault(KAFKA, fault, url, seed, *arguments, sabotage=sabotage, **options)


class Group:
    """What a consumer group has committed, asked by a plain client; used in `async with`."""

    def __init__(self, url, topic, subscription):
        self.topic, self.subscription = topic, subscription
        bootstrap = url.removeprefix("kafka://").partition("?")[0]
        self._client = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}.{subscription}"})

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self._client.close()

    async def left(self, bus):
        """Receive what the group has not acked yet."""
        read = set()
        if await self.finished(0.0):
            return read
        async with bus.subscribe(self.topic, self.subscription) as receiver:
            while not await self.finished(0.0):
                batch = await receiver.receive(1000, timeout=LOOK)
                read.update(one.message.data.decode() for one in batch)
                await receiver.ack(*batch)
        return read

    async def finished(self, patience, _ledger=None):
        """Return whether all was committed, or comes to be so in that many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience or None):
                while not await asyncio.to_thread(self._finished):
                    if not patience:
                        return False
                    await asyncio.sleep(LOOK)
                return True
        return False

    def _finished(self):
        numbers = self._client.list_topics(self.topic, timeout=10.0).topics[self.topic].partitions
        partitions = [TopicPartition(self.topic, number) for number in numbers]
        return all(
            one.offset == self._client.get_watermark_offsets(one, timeout=10.0)[1]
            for one in self._client.committed(partitions, timeout=10.0)
        )


KAFKA = Kind(Path(__file__).with_name("inside.py"), Group, limit=240.0, settling=90.0, patience=10.0)
