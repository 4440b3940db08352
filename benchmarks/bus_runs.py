"""The bus's part in the benchmarks of brokers, the same on all of them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from backlog import resident
from contest import DATA, KEYS, Clock, Cost, attributes, processor

from visionbus.messaging import Message, connect

BATCH = 500
LINGER = 0.1  # seconds that a batch may take to become full
PACE = 1 / 200  # seconds from one round trip to the next, or more
SETTLE = 3.0  # seconds until a receiver has joined for good
ROWS = 10  # of the table that `bus_backlog` prints


def message(number: int, *, keys: bool = True) -> Message:
    return Message(DATA, KEYS[number % 1000] if keys else None, attributes(number))


def bus_send(url: str, topic: str, count: int, batches: int, *, keys: bool = True) -> Cost:
    """Send so many, of which so many batches are on their way at a time; every message confirmed."""

    async def send_all() -> Cost:
        bus = connect(url)
        clock = Clock()
        firsts = iter(range(0, count, BATCH))

        async def send_some() -> None:
            for first in firsts:
                numbers = range(first, min(first + BATCH, count))
                await bus.send(topic, *[message(number, keys=keys) for number in numbers])
                clock.first()

        async with bus, asyncio.TaskGroup() as senders:
            for _ in range(batches):
                senders.create_task(send_some())
        return clock.cost(count)

    return asyncio.run(send_all())


def bus_receive(
    url: str, topic: str, subscription: str, count: int, max_in_flight: int, *, held_back: bool = True
) -> Cost:
    """Ack in random order: of what it holds, up to 1,000, a random half each time; or all as it comes.

    A half also when nothing comes: on Pub/Sub, the rest of a key may wait for the acks of what came before it.
    """

    async def receive_all() -> Cost:
        bus = connect(url)  # which imports the driver: the others' libraries are there, too
        clock = Clock()
        order = random.Random(0).sample(range(2 * BATCH), 2 * BATCH)
        received, held = 0, list[Any]()
        async with bus, bus.subscribe(topic, subscription, max_in_flight=max_in_flight) as subscribed:
            while received < count:
                batch = await subscribed.receive(BATCH, linger=LINGER, timeout=LINGER)
                if batch:
                    clock.first()
                received += len(batch)
                if held_back:
                    held = [*held, *batch]
                    held = [held[place] for place in order if place < len(held)]
                    batch = held[len(held) // 2 :]
                    del held[len(held) // 2 :]
                await subscribed.ack(*batch)
            await subscribed.ack(*held)
        return clock.cost(received)

    return asyncio.run(receive_all())


def bus_trips(url: str, topic: str, subscription: str, count: int, pace: float = PACE) -> list[float]:
    """So many seconds from sent to received, one begun every `pace` seconds; one task sends, another one receives."""

    async def travel() -> list[float]:
        trips = []
        async with connect(url) as bus, bus.subscribe(topic, subscription) as subscribed:
            arrived: asyncio.Queue[float] = asyncio.Queue()

            async def receive() -> None:
                async for one in subscribed:
                    arrived.put_nowait(time.perf_counter())
                    await subscribed.ack(one)

            receiver = asyncio.create_task(receive())
            for number in range(count):
                start = time.perf_counter()
                await bus.send(topic, message(number))
                trips.append(await arrived.get() - start)
                await asyncio.sleep(max(0.0, start + pace - time.perf_counter()))
        await receiver
        return trips

    return asyncio.run(travel())


def bus_idle(url: str, topic: str, subscription: str, seconds: float) -> float:
    """The share of a core."""

    async def wait() -> float:
        async with connect(url) as bus, bus.subscribe(topic, subscription) as subscribed:
            await subscribed.receive(timeout=SETTLE)
            before = processor()
            await subscribed.receive(timeout=seconds)
            return (processor() - before) / seconds

    return asyncio.run(wait())


def bus_backlog(url: str, topic: str, subscription: str, count: int, max_in_flight: int) -> list[float]:
    """Receive and ack all; print a table meanwhile, and return its resident sizes, in MB."""

    async def receive_all() -> list[float]:
        sizes = [_row(0, count, 0.0)]
        async with (
            connect(url) as bus,
            bus.subscribe(topic, subscription, max_in_flight=max_in_flight) as subscribed,
        ):
            done, start = 0, time.perf_counter()
            while done < count:
                deliveries = await subscribed.receive(BATCH)
                await subscribed.ack(*deliveries)
                done += len(deliveries)
                if done * ROWS // count > (done - len(deliveries)) * ROWS // count:
                    sizes.append(_row(done, count - done, done / (time.perf_counter() - start)))
        return sizes

    return asyncio.run(receive_all())


def _row(done: int, waiting: int, rate: float) -> float:
    size = resident()
    print(f"{done:>10,} {waiting:>10,} {size:>9.1f} {rate:>11,.0f}", flush=True)
    return size
