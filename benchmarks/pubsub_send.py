"""Sending to Pub/Sub in batches of 500: the bus against Google's PublisherClient with batching, in one run.

Both have 4 batches on their way and confirm every message. Google's client is told to make batches of 500 too; messages
with keys it sends key by key. The topic has a subscription, so that the emulator keeps what it gets.

Usage: python benchmarks/pubsub_send.py [--messages N] [--runs N] [--work WORK ...]
"""

from __future__ import annotations

import argparse
from collections import deque
from typing import TYPE_CHECKING

from bus_runs import BATCH, bus_send
from contest import DATA, KEYS, Clock, Cost, attributes, head, in_own_process, rows
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions
from pubsub_common import URL, WHERE, emulator, topic, topic_path

if TYPE_CHECKING:
    from concurrent.futures import Future

BATCHES = 4  # on their way
WORK = {"no-keys": 50_000, "1000-keys": 10_000}  # messages: fewer with keys, of which each needs requests of its own
LINGER = 0.05  # seconds that the official client's batches may take to become full
GOALS = {"PublisherClient": "rate >= 2, CPU <= 0.33"}


def official_send(_: str, name: str, count: int, batches: int, *, keys: bool) -> Cost:
    clock = Clock()
    settings = BatchSettings(max_messages=BATCH, max_bytes=5_000_000, max_latency=LINGER)
    client = PublisherClient(settings, PublisherOptions(enable_message_ordering=keys))
    path = topic_path(name)
    pending: deque[Future[str]] = deque()
    ids = set()
    for number in range(count):
        key = KEYS[number % len(KEYS)] if keys else ""
        pending.append(client.publish(path, DATA, ordering_key=key, **attributes(number)))
        if len(pending) > batches * BATCH:
            ids.add(pending.popleft().result())
            clock.first()
    ids.update(future.result() for future in pending)
    client.stop()
    if len(ids) < count:
        raise RuntimeError(f"{len(ids):,} of {count:,} messages were confirmed")
    return clock.cost(count)


CLIENTS = {"visionbus": bus_send, "PublisherClient": official_send}


def measure(count: int, *, keys: bool, turned: bool) -> dict[str, Cost]:
    """One run of each, in turned order or not."""
    costs = {}
    for client in sorted(CLIENTS, reverse=turned):
        with topic("workers") as name:
            costs[client] = in_own_process(CLIENTS[client], URL, name, count, BATCHES, keys=keys)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--work", nargs="+", default=list(WORK), choices=list(WORK))
    options = parser.parse_args()
    with emulator():
        for work in options.work:
            count = options.messages or WORK[work]
            head(f"send, batches of {BATCH}, {BATCHES} on their way, {work}", WHERE, options.runs)
            runs = [measure(count, keys=work == "1000-keys", turned=run % 2 == 0) for run in range(options.runs)]
            rows({client: [run[client] for run in runs] for client in CLIENTS}, GOALS)


if __name__ == "__main__":
    main()
