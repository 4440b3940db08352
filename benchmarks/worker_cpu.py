"""Processor time of a worker outside of inference, per image and by thread: raw pixels, and what PNG files add.

Usage: python benchmarks/worker_cpu.py [--images N] [--runs N] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
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


@dataclass
class Cost:
    """Microseconds of processor time per image: outside of inference, in it, and the first by thread."""

    outside: float
    inference: float
    loop: float
    sqlite: float
    classifying: float


def thread_times() -> dict[str, float]:
    """Seconds of processor time of each kind of thread so far."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    times = dict.fromkeys(("loop", "sqlite", "classifying"), 0.0)
    for thread in psutil.Process().threads():
        name = names.get(thread.id, "")
        kind = "classifying" if name.startswith("classify") else "sqlite" if name.startswith("visionbus") else "loop"
        times[kind] += thread.user_time + thread.system_time
    return times


async def measure(images: object, count: int) -> Cost:
    """What one worker costs on a full bus."""
    with tempfile.TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/bus.db") as bus, Client(bus) as client:
            async for _ in client.submit(images):
                pass
        model, stop = TimedModel(), asyncio.Event()
        async with connect(f"sqlite:///{folder}/bus.db") as bus:
            serving = asyncio.create_task(serve(bus, model, stop=stop))
            while not model.images:  # noqa: ASYNC110 (the model's thread has no event)
                await asyncio.sleep(0.01)
            images_before, seconds_before, began, threads = (
                model.images,
                model.seconds,
                time.process_time(),
                thread_times(),
            )
            while model.images < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            spent, done = time.process_time() - began, model.images - images_before
            inference = model.seconds - seconds_before
            by_thread = {name: seconds - threads[name] for name, seconds in thread_times().items()}
            by_thread["classifying"] -= inference
            stop.set()
            await serving
    each = {name: seconds / done * 1e6 for name, seconds in by_thread.items()}
    return Cost((spent - inference) / done * 1e6, inference / done * 1e6, **each)


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
    print("| microseconds per image | outside inference | spread | event loop | SQLite | classifying | inference |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("raw pixels", "PNG"):
        images = pixels if kind == "raw pixels" else [as_png(image) for image in pixels]
        runs = [asyncio.run(measure(images, options.images)) for _ in range(options.runs)]
        spread = f"{min(run.outside for run in runs):.0f} to {max(run.outside for run in runs):.0f}"
        outside, *rest = (
            f"{statistics.median(getattr(run, name) for run in runs):.0f}"
            for name in ("outside", "loop", "sqlite", "classifying", "inference")
        )
        print(f"| {kind} | {outside} | {spread} | {' | '.join(rest)} |", flush=True)


if __name__ == "__main__":
    main()
