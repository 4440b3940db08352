"""Memory of a receiver that works through a deep backlog on Kafka: bounded by `max_in_flight` and `prefetch_bytes`.

Usage: python benchmarks/kafka_backlog.py [--messages N] [--max-in-flight N]
"""

from __future__ import annotations

import argparse
import asyncio
import time

from backlog import resident
from kafka_common import broker, in_own_process, settings

from visionbus.messaging import connect

BATCH = 500
ROWS = 10


def receive(url: str, topic: str, subscription: str, count: int, max_in_flight: int) -> list[float]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--max-in-flight", type=int, default=1_000, metavar="N")
    options = parser.parse_args()
    with broker() as cluster, cluster.topic(options.messages) as topic:
        prefetch = settings(cluster.url).prefetch_bytes / 1e6
        print(
            f"{options.messages:,} messages of 1 kB wait; max_in_flight {options.max_in_flight:,} and {prefetch:.1f} MB"
        )
        print("of prefetch_bytes is what a receiver may hold, beside its libraries")
        print(f"{'received':>10} {'waiting':>10} {'RSS (MB)':>9} {'messages/s':>11}")
        subscription = cluster.group(topic)
        sizes = in_own_process(receive, cluster.url, topic, subscription, options.messages, options.max_in_flight)
        cluster.check_settled(topic, subscription, options.messages)
    print(f"from the first tenth to the last: {sizes[-1] - sizes[1]:+.1f} MB, at most {max(sizes) - sizes[1]:+.1f} MB")
    print("goal: flat")


if __name__ == "__main__":
    main()
