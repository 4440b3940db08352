"""What the offset tracker of the Kafka driver costs alone: microseconds a message, in a loop without a broker.

For each message: received, put into `unsettled`, deleted there; for every 500: what is to be committed, confirmed.

Usage: python benchmarks/kafka_tracker.py [--messages N] [--runs N]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import TYPE_CHECKING

from visionbus.messaging.drivers.kafka.tracker import OffsetTracker

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 500
LATE = 40  # batches: a second, where a partition has 20,000 messages a second


def in_order(count: int) -> list[Sequence[int]]:
    """The offsets that are settled after each batch was received."""
    return [range(first, first + BATCH) for first in range(0, count, BATCH)]


def at_random(count: int) -> list[Sequence[int]]:
    """The same: of 1,000 that are held, a random half."""
    chance = random.Random(0)
    settled: list[Sequence[int]] = []
    held: list[int] = []
    for batch in in_order(count):
        held += batch
        chance.shuffle(held)
        settled.append(held[BATCH:])
        del held[BATCH:]
    return settled


def one_in_100_late(count: int) -> list[Sequence[int]]:
    """The same: one in 100 when 40 more batches were received."""
    batches = in_order(count)
    late: list[Sequence[int]] = [*[[]] * LATE, *[batch[::100] for batch in batches]]
    return [[one for one in batch if one % 100] + list(also) for batch, also in zip(batches, late, strict=False)]


def microseconds(settled: list[Sequence[int]]) -> float:
    """What a message costs, if so many are received and these settled, batch by batch."""
    tracker = OffsetTracker[int](0, 0, "")
    unsettled, offset = tracker.unsettled, 0
    start = time.perf_counter()
    for batch in settled:
        for one in range(offset, offset + BATCH):
            if tracker.receive(one):
                unsettled[one] = one
        for one in batch:
            del unsettled[one]
        offset += BATCH
        if commit := tracker.due():
            tracker.committed(commit)
    return (time.perf_counter() - start) / offset * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    count = options.messages // BATCH * BATCH
    print(f"the offset tracker alone, {count:,} messages; medians of {options.runs} with spread; goal: <= 1")
    for name, settled in (
        ("in order", in_order(count)),
        ("at random, 1,000 held", at_random(count)),
        ("one in 100 late by 20,000", one_in_100_late(count)),
    ):
        costs = [microseconds(settled) for _ in range(options.runs)]
        print(f"acked {name:<26} {statistics.median(costs):.2f} us a message ({min(costs):.2f}-{max(costs):.2f})")


if __name__ == "__main__":
    main()
