"""What a bus on Kafka with one subscription takes of a core while nothing comes, beside a bare consumer that polls.

Usage: python benchmarks/kafka_idle.py [--seconds N]
"""

from __future__ import annotations

import argparse
import time

from bus_runs import SETTLE, bus_idle
from confluent_kafka import Consumer
from contest import in_own_process, processor
from kafka_common import broker, settings


def bare_idle(url: str, topic: str, subscription: str, seconds: float) -> float:
    """The same, of a consumer with the same settings that polls for a second at a time."""
    consumer = Consumer(settings(url).consumer(f"{topic}.{subscription}", 45.0))
    consumer.subscribe([topic])
    _poll(consumer, SETTLE)
    before = processor()
    _poll(consumer, seconds)
    share = (processor() - before) / seconds
    consumer.close()
    return share


def _poll(consumer: Consumer, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        consumer.poll(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N")
    options = parser.parse_args()
    with broker() as cluster, cluster.topic() as topic:
        for name, work in (("a bus with one subscription", bus_idle), ("a bare consumer", bare_idle)):
            share = in_own_process(work, cluster.url, topic, cluster.group(topic), options.seconds)
            print(f"idle for {options.seconds:g} s: {name:<27} takes {share:.2%} of a core", flush=True)
    print("goal: a bus below 1 %")


if __name__ == "__main__":
    main()
