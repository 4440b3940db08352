"""What a bus on Pub/Sub with one subscription takes of a core while nothing comes, beside Google's own `subscribe()`.

Usage: python benchmarks/pubsub_idle.py [--seconds N]
"""

from __future__ import annotations

import argparse
import time

from bus_runs import SETTLE, bus_idle
from contest import in_own_process, processor
from google.cloud.pubsub_v1 import SubscriberClient
from pubsub_common import URL, emulator, subscription_path, topic


def official_idle(_: str, name: str, subscription: str, seconds: float) -> float:
    """The share of a core."""
    with SubscriberClient() as subscriber:
        pulling = subscriber.subscribe(subscription_path(name, subscription), lambda message: message.ack())
        time.sleep(SETTLE)
        before = processor()
        time.sleep(seconds)
        share = (processor() - before) / seconds
        pulling.cancel()
        pulling.result()
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N")
    options = parser.parse_args()
    with emulator():
        for who, work in (("a bus with one subscription", bus_idle), ("Google's subscribe()", official_idle)):
            with topic("workers") as name:
                share = in_own_process(work, URL, name, "workers", options.seconds)
            print(f"idle for {options.seconds:g} s: {who:<27} takes {share:.2%} of a core", flush=True)
    print("goal: a bus below 1 %")


if __name__ == "__main__":
    main()
