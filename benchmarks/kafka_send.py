"""Sending to Kafka in batches of 500: the bus against a bare confluent-kafka loop with the same settings, in one run.

Both confirm every message. Once each batch is confirmed before the next is begun; once with 8 batches on their way.
The bus gets Message values made in the loop and returns ids; the bare loop gets the same data, keys and headers, and
looks at each delivery report for an error.

Usage: python benchmarks/kafka_send.py [--messages N] [--runs N]
"""

from __future__ import annotations

import argparse

from bus_runs import BATCH, bus_send
from confluent_kafka import Producer
from contest import DATA, KEYS, Clock, Cost, attributes, head, in_own_process, rows
from kafka_common import WHERE, Broker, Reports, broker, settings

GOALS = {"confluent-kafka": "rate >= 0.8, CPU <= 1.5"}


def bare_send(url: str, topic: str, count: int, batches: int) -> Cost:
    clock = Clock()
    producer = Producer(settings(url).producer())
    reports = Reports()
    for first in range(0, count, BATCH):
        end = min(first + BATCH, count)
        for number in range(first, end):
            producer.produce(topic, DATA, KEYS[number % 1000], on_delivery=reports, headers=attributes(number))
        if batches == 1:
            producer.flush()  # which does not linger
        while end - reports.confirmed > (batches - 1) * BATCH:
            producer.poll(1.0)
        if reports.confirmed:
            clock.first()
    producer.flush()
    if reports.confirmed < count:
        raise RuntimeError(f"{reports.confirmed:,} of {count:,} messages were confirmed")
    return clock.cost(count)


def measure(cluster: Broker, count: int, batches: int, *, turned: bool) -> dict[str, Cost]:
    """One run of each, in turned order or not."""
    contestants = {"visionbus": bus_send, "confluent-kafka": bare_send}
    costs = {}
    for client in sorted(contestants, reverse=turned):
        with cluster.topic() as topic:
            costs[client] = in_own_process(contestants[client], cluster.url, topic, count, batches)
            cluster.check_held(topic, count)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    with broker() as cluster:
        for batches, work in ((1, "each batch confirmed before the next"), (8, "8 batches on their way")):
            head(f"send, batches of {BATCH}, {work}", WHERE, options.runs)
            runs = [measure(cluster, options.messages, batches, turned=run % 2 == 0) for run in range(options.runs)]
            rows({client: [run[client] for run in runs] for client in ("visionbus", "confluent-kafka")}, GOALS)


if __name__ == "__main__":
    main()
