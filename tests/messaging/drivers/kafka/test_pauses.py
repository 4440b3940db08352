"""A receiver that is full pauses its partitions."""

import asyncio
import uuid

import pytest

from visionbus.messaging import Message, connect
from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.liveness import Liveness
from visionbus.messaging.drivers.kafka.pauses import Pauses


async def lose_and_regain(url):
    topic = f"pauses-{uuid.uuid4().hex}"
    sent = {f"{number}".encode() for number in range(400)}
    async with asyncio.timeout(30), connect(url) as bus, connect(url) as other_bus:
        await bus.declare(topic, "workers")
        await bus.send(topic, *(Message(data, key=data.decode()) for data in sent))  # some in each partition
        async with bus.subscribe(topic, "workers", max_in_flight=10) as receiver:
            batch = await receiver.receive(10, linger=10.0)  # now it is full
            async with other_bus.subscribe(topic, "workers") as other:
                await other.receive()  # it has got partitions, for which the full one had to pause
            await receiver.ack(*batch)
            acked = {one.message.data for one in batch}
            while not acked >= sent:
                batch = await receiver.receive(10)
                await receiver.ack(*batch)
                acked.update(one.message.data for one in batch)


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_partition_that_was_paused_when_it_was_lost_is_read_when_it_comes_back(kafka, protocol):
    asyncio.run(lose_and_regain(f"{kafka.url}?group_protocol={protocol}"))


def test_pause_for_want_of_room_lasts_until_there_is_room(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("visionbus.messaging.drivers.kafka.pauses.time.monotonic", lambda: clock[0])
    pauses = Pauses("images", Holding(1), Liveness())
    starved = []
    for clock[0] in (0.0, 0.4, 0.6, 0.7, 1.1, 30.0):
        starved.append(pauses.starved(0))
    assert starved == [False, False, True, True, True, True]
    assert not pauses.starved(1)
