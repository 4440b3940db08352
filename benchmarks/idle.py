"""An idle system: seconds from published to stored for one image at a time, and what the processes cost meanwhile.

Usage: python benchmarks/idle.py [--images N]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import Services
from system import random_images

from visionbus.messaging import connect
from visionbus.service.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import numpy.typing as npt

PAUSE = 0.1  # seconds between two images
IDLE = 10.0  # seconds


async def trickle(url: str, count: int) -> None:
    async def one_by_one() -> AsyncIterator[npt.NDArray[np.uint8]]:
        for image in random_images(count):
            yield image
            await asyncio.sleep(PAUSE)

    async with connect(url) as bus, Client(bus) as client:
        async for _ in client.submit(one_by_one()):
            pass


def idle_cpu(services: Services) -> tuple[float, float]:
    """Share of a core that a worker and the results consumer take while nothing comes."""
    processes = [services.workers()[0], services.results()]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    time.sleep(IDLE)
    worker, results = (
        (sum(process.cpu_times()[:2]) - start) / IDLE for process, start in zip(processes, before, strict=True)
    )
    return worker, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder), processes=1) as services:
        time.sleep(1.0)  # the start is over
        worker, results = idle_cpu(services)
        print(f"idle for {IDLE:g} s: a worker takes {worker:.2%} of a core, the results consumer {results:.2%}")
        asyncio.run(trickle(services.bus, options.images))
        services.wait_for_rows(options.images)
        milliseconds = [took * 1e3 for (took,) in services.query("SELECT stored - published FROM results")]
    median, late = np.percentile(milliseconds, [50, 99])
    print(f"published to stored, {options.images} images one by one: p50 {median:.1f} ms, p99 {late:.1f} ms")


if __name__ == "__main__":
    main()
