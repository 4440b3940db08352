"""The whole system against raw ONNX Runtime on as many cores, in one run; what PNG files add is told apart.

Client, workers, results consumer and bus share the cores. The clock runs from the first send to the last row stored,
with the workers ready beforehand.

Usage: python benchmarks/system.py [--images N] [--runs N]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import Services, inference_rate
from PIL import Image

from visionbus.messaging import connect
from visionbus.service.client import Client
from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

CORES = os.cpu_count() or 1


def random_images(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *OnnxModel(default_model()).input.shape), dtype=np.uint8)


def as_png(image: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "PNG")
    return file.getvalue()


async def send(url: str, images: Iterable[object]) -> None:
    async with connect(url) as bus, Client(bus) as client:
        async for _ in client.submit(images):
            pass


def system_rate(images: Iterable[object], count: int) -> float:
    """Images a second, from the first send to the last row."""
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder), processes=CORES) as services:
        asyncio.run(send(services.bus, images))
        first, last = services.wait_for_rows(count)
        return count / (last - first)


def raw_rate() -> float:
    """Images a second of ONNX Runtime alone, one process per core."""
    with get_context("spawn").Pool(CORES) as pool:
        return sum(pool.map(inference_rate, [5.0] * CORES, chunksize=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each kind (default 5)")
    options = parser.parse_args()
    pixels = random_images(options.images)
    print(f"{CORES} cores, {options.images:,} images, medians of {options.runs}, SQLite bus")
    print("| images as | system/s | ONNX Runtime alone/s | ratio | spread |\n|---|---|---|---|---|")
    for kind in ("raw pixels", "PNG"):
        images = pixels if kind == "raw pixels" else [as_png(image) for image in pixels]
        pairs = [(system_rate(images, options.images), raw_rate()) for _ in range(options.runs)]
        ratios = sorted(ours / alone for ours, alone in pairs)
        ours, alone = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"| {kind} | {ours:,.0f} | {alone:,.0f} | {statistics.median(ratios):.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
