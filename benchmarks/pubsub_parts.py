"""What receiving and acking a message over Pub/Sub takes of the processor, part by part, without gRPC or a broker.

The parts are those of the driver and of `Subscription`, on responses of 100 messages, as the emulator sends them, and
batches of 500; beside them, what a hand-written loop does with the same responses. The rest of what
`pubsub_receive.py` measures is gRPC's and the event loop's.

Usage: python benchmarks/pubsub_parts.py [--messages N] [--runs N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from bus_runs import BATCH
from contest import DATA, KEYS, attributes, spread
from google.pubsub_v1 import types

from visionbus.messaging.drivers.pubsub.acked import AckedIds
from visionbus.messaging.drivers.pubsub.acks import AcknowledgeRequest
from visionbus.messaging.drivers.pubsub.holding import Holding
from visionbus.messaging.drivers.pubsub.records import delivery_of

if TYPE_CHECKING:
    from collections.abc import Iterator

A_RESPONSE = 100  # messages
Response: Any = types.StreamingPullResponse.pb()


class Parts:
    """Processor seconds by the name of a part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


def responses(count: int, *, keys: bool) -> list[bytes]:
    """Serialised ones with so many messages in all."""
    made = []
    for first in range(0, count, A_RESPONSE):
        response = Response()
        for number in range(first, first + A_RESPONSE):
            one = response.received_messages.add(ack_id=f"projects/visionbus/subscriptions/bench.workers:{number}")
            one.message.data = DATA
            one.message.message_id = str(number)
            one.message.ordering_key = KEYS[number % 1000] if keys else ""
            one.message.attributes.update(attributes(number))
            one.message.publish_time.FromSeconds(1_800_000_000 + number // BATCH)
        made.append(response.SerializeToString())
    return made


def measure(wires: list[bytes]) -> dict[str, float]:
    """Microseconds for a message, by part."""
    parts, held = Parts(), Holding(BATCH, 1 << 30, 60.0, AckedIds())
    in_flight = {}
    left = iter(wires)
    while some := list(islice(left, BATCH // A_RESPONSE)):
        with parts.part("protobuf reads the response"):
            read = [Response.FromString(wire).received_messages for wire in some]
        with parts.part("the loop reads every field"):
            for received in read:
                loop_reads(received)
        with parts.part("messages and deliveries are made"):
            for received in read:
                for lease, one in enumerate(received):
                    message = one.message
                    delivery_of(message, message.message_id, 1, lease)
        with parts.part("the same, and they are held"):
            for received in read:
                held.add(received, float("inf"))
        with parts.part("a batch is handed out"):
            batch = list({one.lease: one for one in held.take(BATCH, 0.0)}.values())
            for one in batch:
                in_flight[one.lease] = (0.0, one)
        with parts.part("a batch is acked"):
            leases = [one.lease for one in batch if one.lease in in_flight]
            ack_ids = held.settle(leases)
            for lease in leases:
                in_flight.pop(lease)
        with parts.part("protobuf writes the request"):
            AcknowledgeRequest(subscription="bench.workers", ack_ids=ack_ids).SerializeToString()
    count = len(wires) * A_RESPONSE
    return {name: seconds / count * 1e6 for name, seconds in parts.seconds.items()}


def loop_reads(received: Any) -> list[Any]:  # noqa: ANN401 (a protobuf list)
    return [
        (
            one.message.data,
            one.message.ordering_key,
            dict(one.message.attributes),
            one.message.message_id,
            one.message.publish_time.ToMicroseconds(),
            one.ack_id,
        )
        for one in received
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    for keys in (False, True):
        wires = responses(options.messages, keys=keys)
        measure(wires)  # the first run is the slowest one
        runs = [measure(wires) for _ in range(options.runs)]
        print(f"\n{options.messages:,} messages of 1 kB {'with 1,000 keys' if keys else 'without keys'}; ", end="")
        print(f"microseconds of the processor for each, medians of {options.runs} with their spread")
        for name in runs[0]:
            values = [run[name] for run in runs]
            print(f"{name:<33} {statistics.median(values):>6.2f} {spread(values, '.2f')}")


if __name__ == "__main__":
    main()
