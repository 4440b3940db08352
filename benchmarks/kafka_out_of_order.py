"""Kafka with one message in 100 slow: the bus against a loop that works in order, in one run.

A slow message takes 1 s, the others nothing. The bus acks each when it is done, whatever the order. The other, one
consumer of confluent-kafka for each partition, works on one message at a time and commits in order, after each batch,
without waiting for the answer; it gets fewer messages, as it takes a second for every 100 of a partition.

Usage: python benchmarks/kafka_out_of_order.py [--messages N] [--in-order N] [--runs N] [--max-in-flight N]
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition
from contest import Clock, Cost, head, in_own_process, rows
from kafka_common import PARTITIONS, WHERE, Broker, broker, settings

from visionbus.messaging import connect

if TYPE_CHECKING:
    from visionbus.messaging import Delivery

BATCH = 500
WAIT = 0.1  # seconds that a batch may take to become full
ONE_IN = 100
SLOW = 1.0  # seconds
GOALS = {"in order, by partition": "rate >= 20"}


def bus_handle(url: str, topic: str, subscription: str, count: int, max_in_flight: int) -> Cost:
    async def handle_all() -> Cost:
        clock = Clock()
        received = 0

        async def handle_slow(slow: list[Delivery]) -> None:
            await asyncio.sleep(SLOW)
            await subscribed.ack(*slow)

        async with (
            connect(url) as bus,
            bus.subscribe(topic, subscription, max_in_flight=max_in_flight) as subscribed,
            asyncio.TaskGroup() as handlers,
        ):
            while received < count:
                batch = await subscribed.receive(BATCH, linger=WAIT)
                clock.first()
                slow = slice(-received % ONE_IN, None, ONE_IN)
                received += len(batch)
                handlers.create_task(handle_slow(batch[slow]))
                del batch[slow]
                await subscribed.ack(*batch)
        return clock.cost(received)

    return asyncio.run(handle_all())


def in_order_handle(url: str, topic: str, subscription: str, count: int, _: int) -> Cost:
    clock = Clock()
    consumers = [
        threading.Thread(target=_handle_partition, args=(url, topic, subscription, number, count // PARTITIONS))
        for number in range(PARTITIONS)
    ]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    return clock.cost(count // PARTITIONS * PARTITIONS)


def _handle_partition(url: str, topic: str, subscription: str, number: int, count: int) -> None:
    consumer = Consumer(settings(url).consumer(f"{topic}.{subscription}", 45.0) | {"group.protocol": "classic"})
    consumer.assign([TopicPartition(topic, number, 0)])
    handled = 0
    while handled < count:
        for record in consumer.consume(min(BATCH, count - handled), WAIT):
            if error := record.error():
                raise RuntimeError(str(error))
            if handled % ONE_IN == 0:
                time.sleep(SLOW)
            handled += 1
        consumer.commit(offsets=[TopicPartition(topic, number, handled)], asynchronous=True)
    consumer.close()


def measure(cluster: Broker, topic: str, count: int, in_order: int, max_in_flight: int) -> list[Cost]:
    """One run of each, each as a new subscription of the same topic."""
    costs = []
    for work, share in ((bus_handle, count), (in_order_handle, in_order)):
        subscription = cluster.group(topic)
        costs.append(in_own_process(work, cluster.url, topic, subscription, share, max_in_flight))
        cluster.check_settled(topic, subscription, costs[-1].messages)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000, metavar="N")
    parser.add_argument("--in-order", type=int, default=4_000, metavar="N", help="messages for the loop that does so")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--max-in-flight", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    with broker() as cluster, cluster.topic(options.messages) as topic:
        head(
            f"one message in {ONE_IN} takes {SLOW:g} s; visionbus with max_in_flight {options.max_in_flight:,}",
            WHERE,
            options.runs,
        )
        runs = [
            measure(cluster, topic, options.messages, options.in_order, options.max_in_flight)
            for _ in range(options.runs)
        ]
        ours, theirs = zip(*runs, strict=True)
        rows({"visionbus": ours, "in order, by partition": theirs}, GOALS)


if __name__ == "__main__":
    main()
