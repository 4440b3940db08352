"""Memory of a receiver that works through a deep backlog on Kafka: bounded by `max_in_flight` and `prefetch_bytes`.

Usage: python benchmarks/kafka_backlog.py [--messages N] [--max-in-flight N]
"""

from __future__ import annotations

import argparse

from bus_runs import bus_backlog
from contest import backlog_table, in_own_process
from kafka_common import broker, settings


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
        sizes = in_own_process(bus_backlog, cluster.url, topic, subscription, options.messages, options.max_in_flight)
        cluster.check_settled(topic, subscription, options.messages)
    backlog_table(sizes)


if __name__ == "__main__":
    main()
