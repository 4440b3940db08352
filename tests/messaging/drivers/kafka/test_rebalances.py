"""Rebalances that take long: a classic group waits for a dead member until its session is over."""

import asyncio
import sys
import uuid
from contextlib import AsyncExitStack

import pytest

from visionbus.brokers.kafka import KafkaCluster
from visionbus.messaging import Message, connect
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

SESSION = 3.0  # seconds
MEMBER = f"""
import asyncio, sys
from visionbus.messaging import connect

async def main(url, topic):
    async with connect(url) as bus, bus.subscribe(topic, "workers", ack_deadline={SESSION}) as receiver:
        await receiver.receive()
        print("received", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def share_with_one_that_dies(url, bus, receiver, topic):
    """Send and receive until another process has a share of the partitions, and kill it; return what was received."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMBER, url, topic, stdout=asyncio.subprocess.PIPE
    )
    said = asyncio.create_task(process.stdout.readline())
    batch = []
    try:
        while not said.done():
            await bus.send(topic, *(Message(b"data") for _ in range(8)))
            batch += await receiver.receive(100, timeout=0.1)
    finally:
        process.kill()
        await process.wait()
    return [one for one in batch if one.lease in receiver._in_flight]  # the rest is that other one's


async def hold_back(receiver, batch):
    """Ack one after another until the coordinator does not answer a commit any more."""
    commits = receiver._attached._thread._commits
    waiting = None
    while not waiting or commits._on_its_way is not waiting:
        await receiver.ack(batch.pop())
        await asyncio.sleep(0.1)  # for the commit to be on its way
        waiting = commits._on_its_way
        await asyncio.sleep(0.1)  # many times what an answer takes


async def close_while_the_group_waits(url):
    """Return the ids of what came again though it was acked."""
    topic = f"rebalances-{uuid.uuid4().hex}"
    async with asyncio.timeout(60), connect(url) as bus, connect(url) as other_bus:
        await bus.declare(topic, "workers")
        other = other_bus.subscribe(topic, "workers", ack_deadline=SESSION)
        async with (
            bus.subscribe(topic, "workers", ack_deadline=SESSION) as receiver,
            AsyncExitStack() as end,
        ):
            batch = await share_with_one_that_dies(url, bus, receiver, topic)
            entering = asyncio.create_task(end.enter_async_context(other))
            acked = {one.id for one in batch}
            await hold_back(receiver, batch)
            await receiver.ack(*batch)
            await receiver.close()
            await entering
            last = await bus.send(topic, *(Message(b"last") for _ in range(40)))  # some to each partition
            came = set()
            while not came.issuperset(last):
                came.update(one.id for one in await other.receive(100))
            return acked & came


@pytest.mark.slow
def test_acks_while_the_group_waits_for_a_dead_member_are_kept_by_close(kafka):
    if not isinstance(kafka, KafkaCluster):
        pytest.skip("a broker of your own may not allow sessions of three seconds")
    assert asyncio.run(close_while_the_group_waits(f"{kafka.url}?group_protocol=classic&partitions=4")) == set()


async def handle_slowly(url, topic, seconds):
    """Return whether the message is still the handler's in the end, and what comes to the next receiver."""
    async with connect(url) as bus:
        await bus.declare(topic, "workers")
        await bus.send(topic, Message(b"data"))
        async with bus.subscribe(topic, "workers", ack_deadline=SESSION) as receiver:
            (one,) = await receiver.receive()
            await asyncio.sleep(seconds)  # a handler's work
            kept = one.lease in receiver._in_flight
            await receiver.ack(one)
        async with bus.subscribe(topic, "workers") as receiver:
            return kept, await receiver.receive(timeout=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_handler_slower_than_the_longest_interval_of_polls_keeps_its_message(kafka, topic, protocol, monkeypatch):
    honest = KafkaSettings.consumer

    def consumer(self, group, session):
        return honest(self, group, session) | {"max.poll.interval.ms": round(max(session, SESSION) * 1000)}

    monkeypatch.setattr(KafkaSettings, "consumer", consumer)
    outcome = handle_slowly(f"{kafka.url}?group_protocol={protocol}", topic, 2 * SESSION)
    assert asyncio.run(outcome) == (True, [])
