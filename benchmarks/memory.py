"""Resident memory of a worker and of the results consumer while 200,000 images pass.

Usage: python benchmarks/memory.py [--images N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from common import Services
from system import random_images, send


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000, metavar="N")
    options = parser.parse_args()
    step = options.images // 20
    pixels = random_images(step)
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder), processes=os.cpu_count() or 1) as services:
        print("| images | worker RSS (MB) | results RSS (MB) |\n|---|---|---|")
        for done in range(step, options.images + 1, step):
            asyncio.run(send(services.bus, pixels))
            services.wait_for_rows(done)
            if done in (step, *range(options.images // 4, options.images + 1, options.images // 4)):
                worker = max(process.memory_info().rss for process in services.workers())
                results = services.results().memory_info().rss
                print(f"| {done:,} | {worker / 1e6:.1f} | {results / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
