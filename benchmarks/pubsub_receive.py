"""Receiving from Pub/Sub in batches of 500, and acking: the bus against others, each from a full topic, in one run.

All ack as they receive: the loop on Google's generated clients, written for this and with as many streams as the bus
opens, on the stream that brought a message; Google's `subscribe()` and gcloud-aio-pubsub in their callbacks. All but
the latter, whose messages have no ordering key, read every field. `--clients random-halves` is the bus once more: it
acks in random order, of what it holds, up to 1,000, a random half each time. `--clients acks-by-calls` is the loop once
more, with acks as the bus makes them: by calls of their own, which tell that they were heard, gathered for 0.1 s.

The emulator gives a stream 1,950 messages a second: Google's `subscribe()`, which has one, gets fewer to receive, and
so does gcloud-aio-pubsub. Without keys it takes the longer for each the more wait, from some ten thousand on.

Usage: python benchmarks/pubsub_receive.py [--messages N] [--runs N] [--max-in-flight N]
           [--clients NAME ...] [--work WORK ...]
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
from bus_runs import BATCH, LINGER, bus_receive
from contest import Clock, Cost, head, in_own_process, rows
from gcloud.aio import pubsub
from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1 import types
from pubsub_common import URL, WHERE, check_settled, emulator, generated_client, subscription_path, topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.cloud.pubsub_v1.subscriber.message import Message

WORK = {"no-keys": 15_000, "1000-keys": 30_000}  # messages: the bus has all its streams after a second
STREAMS = 8  # of the loop; the bus opens as many under backlog
GATHER = 0.1  # seconds, as the bus has it
AT_MOST = 5_000  # messages for those that are slow here
SLOW = {"subscribe()", "gcloud-aio-pubsub"}
GOALS = {
    "generated clients": "rate >= 0.8, CPU <= 1.7",
    "subscribe()": "CPU <= 0.33",
    "gcloud-aio-pubsub": "rate > 1, CPU < 1",
}


def bus_receive_at_once(url: str, name: str, subscription: str, count: int, max_in_flight: int) -> Cost:
    return bus_receive(url, name, subscription, count, max_in_flight, held_back=False)


def official_receive(_: str, name: str, subscription: str, count: int, max_in_flight: int) -> Cost:
    clock = Clock()
    read = []
    done = threading.Event()

    def receive(message: Message) -> None:
        clock.first()
        read.append(
            (message.data, message.ordering_key, dict(message.attributes), message.message_id, message.publish_time)
        )
        message.ack()
        if len(read) >= count:
            done.set()

    with SubscriberClient() as subscriber:
        path = subscription_path(name, subscription)
        pulling = subscriber.subscribe(path, receive, flow_control=FlowControl(max_messages=max_in_flight))
        done.wait()
        pulling.cancel()
        pulling.result()
    return clock.cost(len(read))


class Loop:
    """Receives so many messages on as many streams as there are queues: of ack ids, and of None at the end."""

    def __init__(self, path: str, count: int) -> None:
        self.clock = Clock()
        self._path = path
        self._left = count
        self._acks: list[asyncio.Queue[list[str] | None]] = [asyncio.Queue() for _ in range(STREAMS)]

    async def run(self) -> None:
        client = generated_client()
        async with client, asyncio.TaskGroup() as streams:
            for acks in self._acks:
                streams.create_task(self._receive(client, acks))

    async def _receive(self, client: Any, acks: asyncio.Queue[list[str] | None]) -> None:  # noqa: ANN401 (generated)
        async for response in await client.streaming_pull(self._requests(acks)):
            received = types.StreamingPullResponse.pb(response).received_messages
            read = [
                (
                    one.message.data,
                    one.message.ordering_key,
                    dict(one.message.attributes),
                    one.message.message_id,
                    one.message.publish_time.ToMicroseconds(),
                )
                for one in received
            ]
            self.clock.first()
            self._ack(acks, [one.ack_id for one in received])
            self._left -= len(read)
            if self._left <= 0:
                for each in self._acks:
                    each.put_nowait(None)

    def _ack(self, acks: asyncio.Queue[list[str] | None], ack_ids: list[str]) -> None:
        acks.put_nowait(ack_ids)

    async def _requests(self, acks: asyncio.Queue[list[str] | None]) -> AsyncIterator[types.StreamingPullRequest]:
        yield types.StreamingPullRequest(subscription=self._path, stream_ack_deadline_seconds=60)
        request = types.StreamingPullRequest.pb()
        while (ack_ids := await acks.get()) is not None:
            yield types.StreamingPullRequest.wrap(request(ack_ids=ack_ids))


class CallingLoop(Loop):
    """Acks by calls of their own, gathered."""

    def __init__(self, path: str, count: int) -> None:
        super().__init__(path, count)
        self._gathered: list[str] = []

    async def run(self) -> None:
        client = generated_client()
        async with client, asyncio.TaskGroup() as group:
            streams = [group.create_task(self._receive(client, acks)) for acks in self._acks]
            while not all(stream.done() for stream in streams) or self._gathered:
                await asyncio.sleep(GATHER)
                ack_ids, self._gathered = self._gathered, []
                if ack_ids:
                    group.create_task(client.acknowledge(subscription=self._path, ack_ids=ack_ids))

    def _ack(self, _: asyncio.Queue[list[str] | None], ack_ids: list[str]) -> None:
        self._gathered += ack_ids


def generated_receive(_: str, name: str, subscription: str, count: int, __: int) -> Cost:
    return asyncio.run(loop_receive(Loop(subscription_path(name, subscription), count), count))


def calling_receive(_: str, name: str, subscription: str, count: int, __: int) -> Cost:
    return asyncio.run(loop_receive(CallingLoop(subscription_path(name, subscription), count), count))


async def loop_receive(loop: Loop, count: int) -> Cost:
    await loop.run()
    return loop.clock.cost(count)


def gcloud_aio_receive(_: str, name: str, subscription: str, count: int, __: int) -> Cost:
    async def receive_all() -> Cost:
        clock = Clock()
        received = 0
        done = asyncio.Event()

        async def handle(_: pubsub.SubscriberMessage) -> None:
            nonlocal received
            clock.first()
            received += 1
            if received >= count:
                done.set()

        async with aiohttp.ClientSession() as session:
            client = pubsub.SubscriberClient(session=session)
            path = subscription_path(name, subscription)
            receiving = asyncio.create_task(
                pubsub.subscribe(path, handle, client, num_producers=STREAMS, ack_window=LINGER)
            )
            await done.wait()
            receiving.cancel()
            await asyncio.wait([receiving])
        return clock.cost(received)

    return asyncio.run(receive_all())


CLIENTS: dict[str, Callable[[str, str, str, int, int], Cost]] = {
    "visionbus": bus_receive_at_once,
    "random-halves": bus_receive,
    "generated clients": generated_receive,
    "acks-by-calls": calling_receive,
    "subscribe()": official_receive,
    "gcloud-aio-pubsub": gcloud_aio_receive,
}


def measure(count: int, max_in_flight: int, clients: list[str], *, keys: bool) -> dict[str, Cost]:
    """One run of each, in this order, each with a topic of its own."""
    costs = {}
    for client in clients:
        share = min(count, AT_MOST) if client in SLOW else count
        with topic("workers", filled=share, keys=keys) as name:
            costs[client] = in_own_process(CLIENTS[client], URL, name, "workers", share, max_in_flight)
            if client not in SLOW:
                check_settled(name, "workers")
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--max-in-flight", type=int, default=10_000, metavar="N")
    parser.add_argument("--clients", nargs="+", default=list(GOALS), choices=list(CLIENTS)[1:], metavar="NAME")
    parser.add_argument("--work", nargs="+", default=list(WORK), choices=list(WORK))
    options = parser.parse_args()
    clients = ["visionbus", *options.clients]
    for work in options.work:
        count = options.messages or WORK[work]
        what = f"receive and ack, batches of {BATCH}, {work}; max_in_flight {options.max_in_flight:,}"
        head(what, WHERE, options.runs)
        runs = []
        for run in range(options.runs):
            turned = clients[:: -1 if run % 2 else 1]
            with emulator():  # a new one for each run: it grows, and slower with it, whatever is deleted
                runs.append(measure(count, options.max_in_flight, turned, keys=work == "1000-keys"))
        rows({client: [run[client] for run in runs] for client in clients}, GOALS)


if __name__ == "__main__":
    main()
