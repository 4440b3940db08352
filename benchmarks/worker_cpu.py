"""What a worker costs besides the model: CPU time an image, all threads, from first request to last ack (SQLite bus).

Usage: python benchmarks/worker_cpu.py [--images N] [--runs N]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from typing import TYPE_CHECKING

from common import NullModel, folder, images, print_header, print_rows, spread
from PIL import Image

from visionbus.messaging import connect
from visionbus.service.client import Client
from visionbus.service.watch import Unwatched
from visionbus.service.worker import serve

if TYPE_CHECKING:
    from collections.abc import Collection

TARGET = 70.0  # microseconds an image, raw pixels


class Meter(Unwatched):
    """Takes the time from ready to the last ack, then stops the worker."""

    def __init__(self, count: int) -> None:
        self.stop = asyncio.Event()
        self.cpu = 0.0
        self._left = count

    def ready(self) -> None:
        self.cpu = time.process_time()

    def settled(self, deliveries: Collection[str]) -> None:
        self._left -= len(deliveries)
        if self._left == 0:
            self.cpu = time.process_time() - self.cpu
            self.stop.set()


def png(pixels: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


async def measure(count: int, *, encode: bool) -> tuple[float, float]:
    """Give microseconds an image of the client's and of the worker's CPU time."""
    pixels = images(count)
    items = [png(one) for one in pixels[..., 0]] if encode else pixels
    with folder() as place:
        async with connect(f"sqlite:///{place}/bus.db") as bus:
            start = time.process_time()
            async with Client(bus, run="run") as client:
                async for _ in client.submit(items):
                    pass
            sending = time.process_time() - start
            meter = Meter(count)
            await serve(bus, NullModel(), stop=meter.stop, watch=meter)
    return sending / count * 1e6, meter.cpu / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    measured = {}
    for kind in ("raw", "png"):
        measured[kind] = [asyncio.run(measure(options.images, encode=kind == "png")) for _ in range(options.runs)]
    print_header(f"CPU outside inference, microseconds an image, {options.images:,} images", options.runs)
    raw, file = ([worker for _, worker in measured[kind]] for kind in ("raw", "png"))
    print_rows(
        [
            (f"worker, raw pixels (target: {TARGET:g})", spread(raw)),
            ("worker, PNG files of noise", spread(file)),
            ("what PNG adds", spread([b - a for a, b in zip(sorted(raw), sorted(file), strict=True)])),
            ("client, raw pixels", spread([client for client, _ in measured["raw"]])),
        ]
    )


if __name__ == "__main__":
    main()
