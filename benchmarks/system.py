"""The whole system against raw ONNX Runtime on all cores, in the same run: images a second, SQLite bus.

Client, workers (one a core) and results consumer are processes of their own on the same cores; timed from the first
send to the last stored row, workers ready beforehand.

Usage: python benchmarks/system.py [--images N] [--runs N] [--encode raw|png]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import sqlite3
import struct
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from common import folder, images, print_header, print_rows, shipped, spread
from PIL import Image

from visionbus.service.supervisor import cores

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = 0.5  # of raw ONNX Runtime, raw pixels
BATCH = 256


def infer(barrier: object, count: int) -> float:
    """Run the model on `count` images; give the seconds it took."""
    model = shipped()
    batch = images(BATCH)
    model.logits(batch)
    barrier.wait()
    start = time.monotonic()
    for _ in range(0, count, BATCH):
        model.logits(batch)
    return time.monotonic() - start


def raw_rate(count: int) -> float:
    """Give images a second of ONNX Runtime alone, one process a core."""
    processes = cores()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(processes, mp_context=context) as pool:
        barrier = manager.Barrier(processes)
        share = count // processes
        slowest = max(pool.map(infer, [barrier] * processes, [share] * processes))
    return share * processes / slowest


@contextlib.contextmanager
def started(*words: str, lines: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and wait until so many lines of its stderr say ready; end it with the block."""
    with subprocess.Popen([sys.executable, "-m", "visionbus", *words], stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            lines -= "ready" in line
            if not lines:
                break
        yield process
        process.terminate()
        log.write_text(process.stderr.read())


def write_images(place: Path, count: int, encode: str) -> str:
    """Write what `send` is to send: an IDX file, or a folder of PNG files."""
    pixels = images(count)[..., 0]
    if encode == "raw":
        file = place / "images.idx"
        file.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", *pixels.shape) + pixels.tobytes())
        return str(file)
    target = place / "png"
    target.mkdir()
    for index, one in enumerate(pixels):
        data = io.BytesIO()
        Image.fromarray(one).save(data, "PNG")
        (target / f"{index:06}.png").write_bytes(data.getvalue())
    return str(target)


def system_rate(count: int, encode: str) -> float:
    """Give images a second of the whole system."""
    with folder() as name:
        place = Path(name)
        source = write_images(place, count, encode)
        bus = ("--bus", f"sqlite:///{place}/bus.db")
        store = ("--store", str(place / "results.db"), "--count", str(count))
        workers = started("worker", *bus, lines=cores(), log=place / "worker.log")
        with workers, started("results", *bus, *store, lines=1, log=place / "results.log") as results:
            send = [sys.executable, "-m", "visionbus", "send", *bus, "--json", source]
            start = time.time()
            subprocess.run(send, check=True, capture_output=True)
            sent = time.time()
            results.wait()
        with contextlib.closing(sqlite3.connect(place / "results.db")) as database:
            rows, first, last = database.execute("SELECT count(*), min(published), max(stored) FROM results").fetchone()
    assert rows == count
    print(f"  sent in {sent - start:.1f} s, all stored after {last - first:.1f} s", file=sys.stderr)
    return count / (last - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--encode", choices=["raw", "png"], default="raw")
    options = parser.parse_args()
    raw, system = [], []
    for _ in range(options.runs):
        raw.append(raw_rate(20_000))
        system.append(system_rate(options.images, options.encode))
    print_header(f"the whole system, {options.images:,} images ({options.encode}), images a second", options.runs)
    print_rows(
        [
            ("ONNX Runtime alone, one process a core", spread(raw, 0)),
            ("client to stored row", spread(system, 0)),
            (f"ratio (target with raw pixels: {TARGET})", spread([a / b for a, b in zip(system, raw, strict=True)], 2)),
        ]
    )


if __name__ == "__main__":
    main()
