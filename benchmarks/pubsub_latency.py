"""Round trips over Pub/Sub, one message at a time: the bus against Google's own clients, in one run.

A third way shows what of the bus's time is gRPC's on an event loop: Google's generated asyncio clients, and nothing
else, with a stream that is never opened anew.

A trip is from before the call that sends to after the one that receives. Both wait for the confirmation of what they
send, and ack each message; Google's publisher does not wait for others to make a batch with. The emulator hands out
every 50 ms, and so a trip takes from next to nothing to 50 ms more than the clients do: trips begin every 61.8 ms,
whether or not the emulator's turn is near, and so at all times between two turns alike. Begun when the last one ended,
each would take what is left of the 50 ms, and tell nothing of the clients.

Usage: python benchmarks/pubsub_latency.py [--trips N] [--runs N]
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import time
from typing import TYPE_CHECKING

from bus_runs import bus_trips
from contest import DATA, KEYS, attributes, in_own_process, trips_table
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions
from google.pubsub_v1 import types
from pubsub_common import (
    URL,
    check_settled,
    emulator,
    generated_client,
    generated_publisher,
    subscription_path,
    topic,
    topic_path,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.cloud.pubsub_v1.subscriber.message import Message

WARM_UP = 20  # trips that do not count
PACE = 0.0618  # seconds from one trip to the next


def official_trips(_: str, name: str, subscription: str, count: int) -> list[float]:
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()

    def receive(message: Message) -> None:
        arrived.put(time.perf_counter())
        message.ack()

    publisher = PublisherClient(BatchSettings(max_messages=1), PublisherOptions(enable_message_ordering=True))
    trips = []
    with SubscriberClient() as subscriber:
        pulling = subscriber.subscribe(subscription_path(name, subscription), receive)
        for number in range(count):
            start = time.perf_counter()
            key = KEYS[number % 1000]
            publisher.publish(topic_path(name), DATA, ordering_key=key, **attributes(number)).result()
            trips.append(arrived.get() - start)
            time.sleep(max(0.0, start + PACE - time.perf_counter()))
        pulling.cancel()
        pulling.result()
    publisher.stop()
    return trips


def generated_trips(_: str, name: str, subscription: str, count: int) -> list[float]:
    async def travel() -> list[float]:
        arrived: asyncio.Queue[float] = asyncio.Queue()
        acks: asyncio.Queue[str] = asyncio.Queue()
        trips = []

        async def requests() -> AsyncIterator[types.StreamingPullRequest]:
            path = subscription_path(name, subscription)
            yield types.StreamingPullRequest(subscription=path, stream_ack_deadline_seconds=60)
            while True:
                yield types.StreamingPullRequest(ack_ids=[await acks.get()])

        async def receive() -> None:
            async for response in await subscriber.streaming_pull(requests()):
                for one in response.received_messages:
                    arrived.put_nowait(time.perf_counter())
                    acks.put_nowait(one.ack_id)

        async with generated_client() as subscriber, generated_publisher() as publisher:
            receiver = asyncio.create_task(receive())
            for number in range(count):
                start = time.perf_counter()
                sent = types.PubsubMessage(data=DATA, ordering_key=KEYS[number % 1000], attributes=attributes(number))
                await publisher.publish(topic=topic_path(name), messages=[sent])
                trips.append(await arrived.get() - start)
                await asyncio.sleep(max(0.0, start + PACE - time.perf_counter()))
            receiver.cancel()
            await asyncio.wait([receiver])
        return trips

    return asyncio.run(travel())


def visionbus_trips(url: str, name: str, subscription: str, count: int) -> list[float]:
    return bus_trips(url, name, subscription, count, PACE)


CLIENTS = {"visionbus": visionbus_trips, "Google's clients": official_trips, "generated clients": generated_trips}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=200, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {client: [] for client in CLIENTS}
    with emulator():
        for run in range(options.runs):
            for client in list(CLIENTS)[:: -1 if run % 2 else 1]:
                with topic("workers") as name:
                    trips = in_own_process(CLIENTS[client], URL, name, "workers", WARM_UP + options.trips)
                    if client == "visionbus":
                        check_settled(name, "workers")
                found[client].append(trips[WARM_UP:])
    print(f"{options.trips:,} round trips of 1 kB one at a time, one each {PACE * 1e3:.1f} ms; ", end="")
    print(f"medians of {options.runs} with spread")
    trips_table(found, "<= 1")


if __name__ == "__main__":
    main()
