"""The SQLite bus against a bare sqlite3 loop that does the same inserts and claims, in one run.

Both take attributes as a mapping and give them back as one; the bare loop is on SQLite's defaults.

Usage: python benchmarks/bus.py [--messages N] [--runs N]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.messaging import Message, connect

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = os.urandom(1000)
ATTRIBUTES = {"ce-id": "run/12345", "ce-type": "benchmark", "content-type": "application/octet-stream"}


def bare_setup(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, key TEXT, attributes TEXT, data BLOB, published REAL,"
            " receiver INTEGER, expires REAL)"
        )


def bare_connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=60)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def bare_publish(path: Path, count: int, batch: int) -> None:
    db = bare_connect(path)
    for _ in range(0, count, batch):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO messages (key, attributes, data, published) VALUES (NULL, ?, ?, ?)",
            [(json.dumps(ATTRIBUTES), DATA, time.time()) for _ in range(batch)],
        )
        db.execute("COMMIT")
    db.close()


def bare_receive(path: Path, count: int, batch: int) -> None:
    db = bare_connect(path)
    got = 0
    while got < count:
        db.execute("BEGIN IMMEDIATE")
        rows = db.execute(
            "UPDATE messages SET receiver = ?, expires = ? WHERE id IN (SELECT id FROM messages WHERE receiver IS NULL"
            " ORDER BY id LIMIT ?) RETURNING id, key, attributes, data, published",
            (os.getpid(), time.monotonic() + 60, batch),
        ).fetchall()
        db.execute("COMMIT")
        if not rows:
            break
        got += len([json.loads(row[2]) for row in rows])
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM messages WHERE id = ?", [row[:1] for row in rows])
        db.execute("COMMIT")
    db.close()


async def _bus_publish(path: Path, count: int, batch: int) -> None:
    async with connect(f"sqlite:///{path}") as bus:
        for _ in range(0, count, batch):
            await bus.send("bench", *[Message(DATA, attributes=ATTRIBUTES) for _ in range(batch)])


async def _bus_receive(path: Path, count: int, batch: int) -> None:
    async with connect(f"sqlite:///{path}") as bus, bus.subscribe("bench", "workers") as subscription:
        got = 0
        while got < count:
            deliveries = await subscription.receive(batch, timeout=0.2)
            if not deliveries:
                break
            got += len(deliveries)
            await subscription.ack(*deliveries)


def bus_publish(path: Path, count: int, batch: int) -> None:
    asyncio.run(_bus_publish(path, count, batch))


def bus_receive(path: Path, count: int, batch: int) -> None:
    asyncio.run(_bus_receive(path, count, batch))


def bus_setup(path: Path) -> None:
    async def declare() -> None:
        async with connect(f"sqlite:///{path}") as bus:
            await bus.declare("bench", "workers")

    asyncio.run(declare())


def rate(work: Callable[[Path, int, int], None], path: Path, count: int, batch: int, processes: int) -> float:
    """Messages a second, all processes together, each doing its share."""
    share = count // processes
    start = time.perf_counter()
    if processes == 1:
        work(path, share, batch)
    else:
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=work, args=(path, share, batch)) for _ in range(processes)]
        for child in children:
            child.start()
        for child in children:
            child.join()
    return share * processes / (time.perf_counter() - start)


def measure(count: int, batch: int, processes: int) -> dict[str, tuple[float, float]]:
    """Rates of bus and bare loop, publishing and then receiving, in one go."""
    rates: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bus, bare = Path(folder, "bus.db"), Path(folder, "bare.db")
        bus_setup(bus)
        bare_setup(bare)
        rates["publish"] = (
            rate(bus_publish, bus, count, batch, processes),
            rate(bare_publish, bare, count, batch, processes),
        )
        rates["receive+ack"] = (
            rate(bus_receive, bus, count, batch, processes),
            rate(bare_receive, bare, count, batch, processes),
        )
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=25_600)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; 1 kB messages, 3 attributes; medians of {options.runs}, ratio with its spread")
    print(f"{'work':<12} {'processes':>9} {'batch':>5} {'bus/s':>9} {'bare/s':>9} {'ratio':>6}  spread")
    for processes, batch in itertools.product((1, 2), (1, 32, 256)):
        count = min(options.messages, 8_000 * processes) if batch == 1 else options.messages
        runs = [measure(count, batch, processes) for _ in range(options.runs)]
        for work in ("publish", "receive+ack"):
            ratios = sorted(ours / theirs for ours, theirs in (run[work] for run in runs))
            ours, theirs = (statistics.median(run[work][side] for run in runs) for side in (0, 1))
            print(
                f"{work:<12} {processes:>9} {batch:>5} {ours:>9,.0f} {theirs:>9,.0f} {statistics.median(ratios):>6.2f}"
                f"  {ratios[0]:.2f}-{ratios[-1]:.2f}"
            )


if __name__ == "__main__":
    main()
