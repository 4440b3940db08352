"""Processor time of a worker outside of inference, an image: raw pixels, and what PNG files add.

Usage: python benchmarks/worker_cpu.py [--images N] [--runs N] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

from system import as_png, random_images

from visionbus.messaging import connect
from visionbus.service.client import Client
from visionbus.service.worker import serve
from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from visionbus.vision import Input


class TimedModel:
    """The shipped model, and the processor time that its thread spends in it."""

    def __init__(self) -> None:
        self._model = OnnxModel(default_model())
        self.name, self.version = self._model.name, self._model.version
        self.classes: tuple[str, ...] = self._model.classes
        self.input: Input = self._model.input
        self.images = 0
        self.seconds = 0.0

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        began = time.thread_time()
        logits = self._model.logits(batch)
        self.seconds += time.thread_time() - began
        self.images += len(batch)
        return logits


async def measure(images: object, count: int) -> tuple[float, float]:
    """Microseconds an image of one worker on a full bus: outside of inference, and in it."""
    with tempfile.TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/bus.db") as bus, Client(bus) as client:
            async for _ in client.submit(images):
                pass
        model, stop = TimedModel(), asyncio.Event()
        async with connect(f"sqlite:///{folder}/bus.db") as bus:
            serving = asyncio.create_task(serve(bus, model, stop=stop))
            while not model.images:  # noqa: ASYNC110 (the model's thread has no event)
                await asyncio.sleep(0.01)
            images_before, seconds_before, began = model.images, model.seconds, time.process_time()
            while model.images < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            spent, done = time.process_time() - began, model.images - images_before
            inference = model.seconds - seconds_before
            stop.set()
            await serving
    return (spent - inference) / done * 1e6, inference / done * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, metavar="N")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--profile", action="store_true", help="print where the time of the event loop's thread goes")
    options = parser.parse_args()
    pixels = random_images(options.images)
    if options.profile:
        with cProfile.Profile() as profile:
            asyncio.run(measure(pixels, options.images))
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
        return
    print(f"{options.images:,} images, one worker, SQLite bus, medians of {options.runs}")
    print("| microseconds an image | outside inference | spread | inference |\n|---|---|---|---|")
    for kind in ("raw pixels", "PNG"):
        images = pixels if kind == "raw pixels" else [as_png(image) for image in pixels]
        runs = [asyncio.run(measure(images, options.images)) for _ in range(options.runs)]
        outside, inference = (sorted(run[side] for run in runs) for side in (0, 1))
        spread = f"{outside[0]:.0f} to {outside[-1]:.0f}"
        print(
            f"| {kind} | {statistics.median(outside):.0f} | {spread} | {statistics.median(inference):.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
