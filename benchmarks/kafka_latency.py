"""Round trips over Kafka, one message at a time, 200/s: the bus against confluent-kafka with linger 0, in one run.

Each sends from one task or thread and receives in another of the same process; the next message goes out when the last
one is in. A trip is from before the call that sends to after the one that receives. Both wait for the confirmation of
what they send; the bus acks each message, the bare loop has librdkafka commit every 50 ms, which is as often as the
bus does. The settings are the same.

Usage: python benchmarks/kafka_latency.py [--trips N] [--runs N]
"""

from __future__ import annotations

import argparse
import queue
import threading
import time

from bus_runs import PACE, bus_trips
from confluent_kafka import Consumer, Producer
from contest import DATA, KEYS, attributes, in_own_process, trips_table
from kafka_common import Reports, broker, settings

WARM_UP = 100  # trips that do not count


def bare_trips(url: str, topic: str, subscription: str, count: int) -> list[float]:
    producer = Producer(settings(url).producer() | {"linger.ms": 0})
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()
    receiver = threading.Thread(target=_receive, args=(url, topic, subscription, count, arrived))
    receiver.start()
    reports = Reports()
    trips = []
    for number in range(count):
        start = time.perf_counter()
        producer.produce(topic, DATA, KEYS[number % 1000], on_delivery=reports, headers=attributes(number))
        while reports.confirmed <= number:
            producer.poll(1.0)
        trips.append(arrived.get() - start)
        time.sleep(max(0.0, start + PACE - time.perf_counter()))
    receiver.join()
    return trips


def _receive(url: str, topic: str, subscription: str, count: int, arrived: queue.SimpleQueue[float]) -> None:
    own = settings(url).consumer(f"{topic}.{subscription}", 45.0)
    commits = {"enable.auto.offset.store": True, "enable.auto.commit": True, "auto.commit.interval.ms": 50}
    consumer = Consumer(own | commits)
    consumer.subscribe([topic])
    while count:
        record = consumer.poll(1.0)
        if record is not None:
            if error := record.error():
                raise RuntimeError(str(error))
            arrived.put(time.perf_counter())
            count -= 1
    consumer.close()


CLIENTS = {"visionbus": bus_trips, "confluent-kafka": bare_trips}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=2_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {client: [] for client in CLIENTS}
    with broker() as cluster:
        for run in range(options.runs):
            for client in sorted(CLIENTS, reverse=run % 2 == 0):
                with cluster.topic() as topic:
                    subscription = cluster.group(topic)
                    count = WARM_UP + options.trips
                    trips = in_own_process(CLIENTS[client], cluster.url, topic, subscription, count)
                    cluster.check_settled(topic, subscription, count)
                found[client].append(trips[WARM_UP:])
    print(f"{options.trips:,} round trips of 1 kB one at a time, at most 200/s; medians of {options.runs} with spread")
    trips_table(found, "<= 1.5")


if __name__ == "__main__":
    main()
