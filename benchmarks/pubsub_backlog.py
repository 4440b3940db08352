"""Memory of a receiver that works through a deep backlog on Pub/Sub: bounded by `max_in_flight` and `prefetch_bytes`.

Usage: python benchmarks/pubsub_backlog.py [--messages N] [--max-in-flight N]
"""

from __future__ import annotations

import argparse

from bus_runs import bus_backlog
from contest import backlog_table, in_own_process
from pubsub_common import URL, check_settled, emulator, topic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=500_000, metavar="N")
    parser.add_argument("--max-in-flight", type=int, default=1_000, metavar="N")
    options = parser.parse_args()
    with emulator(), topic("workers", filled=options.messages) as name:
        print(f"{options.messages:,} messages of 1 kB wait; max_in_flight {options.max_in_flight:,}")
        print(f"{'received':>10} {'waiting':>10} {'RSS (MB)':>9} {'messages/s':>11}")
        sizes = in_own_process(bus_backlog, URL, name, "workers", options.messages, options.max_in_flight)
        check_settled(name, "workers")
    backlog_table(sizes)


if __name__ == "__main__":
    main()
