"""Memory of a receiver that works through a deep backlog on the SQLite bus: it stays within `max_in_flight`.

Usage: python benchmarks/backlog.py [--messages N]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

import psutil

from visionbus.messaging import Message, connect

DATA = bytes(1000)


def resident() -> float:
    """Resident set of this process, in MB."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


async def publish(url: str, count: int) -> None:
    async with connect(url) as bus:
        await bus.declare("bench", "workers")
        for _ in range(0, count, 1000):
            await bus.send("bench", *[Message(DATA)] * 1000)


async def receive(url: str, count: int) -> None:
    async with connect(url) as bus, bus.subscribe("bench", "workers", max_in_flight=1000) as subscription:
        done = 0
        start = time.perf_counter()
        while done < count:
            deliveries = await subscription.receive(1000)
            await subscription.ack(*deliveries)
            done += len(deliveries)
            if done % (count // 10) < len(deliveries):
                rate = done / (time.perf_counter() - start)
                print(f"{done:>10,} {count - done:>10,} {resident():>9.1f} {rate:>9,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bus.db")
        asyncio.run(publish(f"sqlite:///{path}", options.messages))
        print(f"{options.messages:,} messages of 1 kB wait in {path.stat().st_size / 1e6:,.0f} MB; max_in_flight 1,000")
        print(f"{'received':>10} {'waiting':>10} {'RSS (MB)':>9} {'messages/s':>9}")
        print(f"{0:>10,} {options.messages:>10,} {resident():>9.1f}")
        asyncio.run(receive(f"sqlite:///{path}", options.messages))


if __name__ == "__main__":
    main()
