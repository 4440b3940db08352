"""Receiving from Kafka in batches of 500, and settling: the bus against others, from the same full topic in one run.

The bus acks in random order: of what it holds, up to 1,000, a random half each time, so that messages of several
batches are open all the while. The others cannot: they commit their position after each batch (confluent-kafka,
which reads every field, without waiting for the answer; aiokafka, which makes the same objects as the bus, waiting,
as its `commit` does) or after each message (FastStream's handler, whose `ack` commits; of fewer messages) or batch
(FastStream with batch=True). The bare loop of confluent-kafka has the settings of the bus, the others their own
defaults apart from the longest wait of a fetch.

Usage: python benchmarks/kafka_receive.py [--messages N] [--runs N] [--max-in-flight N] [--clients NAME ...]
"""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from bus_runs import BATCH, bus_receive
from confluent_kafka import Consumer
from contest import Clock, Cost, head, in_own_process, rows
from faststream import AckPolicy
from faststream.confluent import KafkaBroker, KafkaMessage
from kafka_common import WHERE, Broker, broker, settings

from visionbus.messaging.message import delivery, received_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import ConsumerRecord

    from visionbus.messaging import Delivery

WAIT = 0.1  # seconds that a batch may take to become full; also the longest wait of a fetch
TENTH = 10  # FastStream, message by message, gets so much less to do
GOALS = {
    "confluent-kafka": "rate >= 0.35, CPU <= 3",
    "aiokafka": "CPU <= 1",
    "faststream": "rate >= 5",
}


def bare_receive(url: str, topic: str, subscription: str, count: int, _: int) -> Cost:
    clock = Clock()
    own = settings(url).consumer(f"{topic}.{subscription}", 45.0)
    consumer = Consumer(own | {"enable.auto.offset.store": True})
    consumer.subscribe([topic])
    received = 0
    while received < count:
        for record in consumer.consume(BATCH, WAIT):
            if error := record.error():
                raise RuntimeError(str(error))
            read = (
                record.value(),
                record.key().decode(),
                {name: value.decode() for name, value in record.headers()},
                record.timestamp()[1],
                record.partition(),
                record.offset(),
            )
            received += len(read) > 0
        if received:
            clock.first()
            consumer.commit(asynchronous=True)
    consumer.close()
    return clock.cost(received)


def aiokafka_receive(url: str, topic: str, subscription: str, count: int, _: int) -> Cost:
    async def receive_all() -> Cost:
        clock = Clock()
        received = 0
        async with AIOKafkaConsumer(
            topic,
            bootstrap_servers=settings(url).bootstrap,
            group_id=f"{topic}.{subscription}",
            enable_auto_commit=False,
            fetch_max_wait_ms=round(WAIT * 1000),
        ) as consumer:
            while received < count:
                found = await consumer.getmany(timeout_ms=round(WAIT * 1000), max_records=BATCH)
                batch = [_delivery_of(record) for records in found.values() for record in records]
                if batch:
                    clock.first()
                    received += len(batch)
                    await consumer.commit()
        return clock.cost(received)

    return asyncio.run(receive_all())


def _delivery_of(record: ConsumerRecord[bytes | None, bytes | None]) -> Delivery:
    key = None if record.key is None else record.key.decode()
    message = received_message(record.value or b"", key, {name: value.decode() for name, value in record.headers})
    published = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return delivery(message, f"{record.partition}-{record.offset}", published, 1, record)


def faststream_receive(url: str, topic: str, subscription: str, count: int, _: int) -> Cost:
    return asyncio.run(_faststream(url, topic, subscription, count))


def faststream_batches(url: str, topic: str, subscription: str, count: int, _: int) -> Cost:
    return asyncio.run(_faststream(url, topic, subscription, count, batch=True, max_records=BATCH))


async def _faststream(url: str, topic: str, subscription: str, count: int, **batches: bool | int) -> Cost:
    clock = Clock()
    received = 0
    done = asyncio.Event()
    stream = KafkaBroker(settings(url).bootstrap, logger=None, allow_auto_create_topics=False)

    @stream.subscriber(
        topic,
        group_id=f"{topic}.{subscription}",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        fetch_max_wait_ms=round(WAIT * 1000),
        **batches,
    )
    async def handle(_: Any, message: KafkaMessage) -> None:  # noqa: ANN401 (whatever the body is decoded to)
        nonlocal received
        clock.first()
        received += len(message.raw_message) if isinstance(message.raw_message, tuple) else 1
        await message.ack()
        if received >= count:
            done.set()

    async with stream:
        await stream.start()
        await done.wait()
    return clock.cost(received)


CLIENTS: dict[str, Callable[[str, str, str, int, int], Cost]] = {
    "visionbus": bus_receive,
    "confluent-kafka": bare_receive,
    "aiokafka": aiokafka_receive,
    "faststream batch=True": faststream_batches,
    "faststream": faststream_receive,
}


def measure(cluster: Broker, topic: str, count: int, max_in_flight: int, clients: list[str]) -> dict[str, Cost]:
    """One run of each, in this order, each as a new subscription of the same topic."""
    costs = {}
    for client in clients:
        subscription = cluster.group(topic)
        share = count // TENTH if client == "faststream" else count
        costs[client] = in_own_process(CLIENTS[client], cluster.url, topic, subscription, share, max_in_flight)
        if share == count:
            cluster.check_settled(topic, subscription, count)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--max-in-flight", type=int, default=10_000, metavar="N")
    parser.add_argument("--clients", nargs="+", default=list(CLIENTS)[1:], choices=list(CLIENTS)[1:], metavar="NAME")
    options = parser.parse_args()
    clients = ["visionbus", *options.clients]
    with broker() as cluster, cluster.topic(options.messages) as topic:
        cluster.check_held(topic, options.messages)
        head(
            f"receive and settle, batches of {BATCH}; visionbus acks in random order, max_in_flight"
            f" {options.max_in_flight:,}",
            WHERE,
            options.runs,
        )
        runs = [
            measure(cluster, topic, options.messages, options.max_in_flight, clients[:: -1 if run % 2 else 1])
            for run in range(options.runs)
        ]
        rows({client: [run[client] for run in runs] for client in clients}, GOALS)


if __name__ == "__main__":
    main()
