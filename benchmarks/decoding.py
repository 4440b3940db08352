"""Decoding a folder of photos into the cache, against Pillow's own draft-mode decoding of the same files by threads.

The photos are made here: noise at several scales, as JPEG. Memory is the growth of the resident set; the array is
memory-mapped, so it counts while it is in the page cache of the process alone.

Usage: python benchmarks/decoding.py [--photos N] [--size WIDTHxHEIGHT] [--runs N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from visionbus.vision import Input
from visionbus.vision.datasets.decoding import Decoding, decode

SIDE = 224
CORES = len(os.sched_getaffinity(0))


def photograph(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    mixed = np.zeros((size[1], size[0], 3), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.3), (64, 0.15), (256, 0.1)):
        coarse = Image.fromarray(generator.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8))
        mixed += np.asarray(coarse.resize(size), np.float32) * weight
    mixed += generator.normal(0, 4, (size[1], size[0], 1)).astype(np.float32)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))


def by_us(paths: list[Path], threads: int) -> None:
    with tempfile.TemporaryDirectory() as cache:
        decode(paths, Input(SIDE, SIDE), Decoding(cache=Path(cache), memory=0, threads=threads))


def seconds(work: partial[object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        made = [Path(folder, f"{n}.jpg") for n in range(min(options.photos, 10))]
        for path in made:
            photograph(generator, (width, height)).save(path, quality=90)
        paths = list(made)
        for number in range(len(made), options.photos):  # other content, the same pixels: a comment at the end
            paths.append(Path(folder, f"{number}.jpg"))
            paths[-1].write_bytes(made[number % len(made)].read_bytes() + str(number).encode())
        threads, processes = ThreadPoolExecutor(CORES), ProcessPoolExecutor(CORES, get_context("spawn"))
        list(processes.map(by_pillow, paths[: 2 * CORES]))  # they have started
        ways = {
            "Pillow's draft mode, threads": partial(lambda: list(threads.map(by_pillow, paths))),
            "Pillow's draft mode, processes": partial(lambda: list(processes.map(by_pillow, paths, chunksize=8))),
            "visionbus, into the cache": partial(by_us, paths, CORES),
        }
        print(f"{options.photos} photos of {options.size}, {CORES} cores, {options.runs} runs\n")
        print("| seconds | median | least | most |\n|---|---|---|---|")
        for name, work in ways.items():
            before = psutil.Process().memory_info().rss
            times = [seconds(work) for _ in range(options.runs)]
            grown = (psutil.Process().memory_info().rss - before) / 2**20
            print(f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} | {grown:.0f} MiB")
        threads.shutdown()
        processes.shutdown()


if __name__ == "__main__":
    main()
