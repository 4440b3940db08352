"""Decoding a folder of photos into the cache, against Pillow's own draft-mode decoding of the same files.

The photos are ten photographs of Debian's package lomiri-wallpapers-16.04 (taken by cameras, 6 to 16 megapixels),
fitted to the size of a phone's photos, and to that of ImageNet's, and saved as JPEG of quality 90: the same in every
run. More than ten are these with another comment each, which are other files to the cache and the same work to a
decoder. With --folder, they are windows of these photographs, no two the same.

Every run is a new process. Its time begins when its imports are done, with threads and processes still to be started,
and ends when all pixels are in one array (Pillow), or in the cache and mapped (visionbus). Memory is the largest
resident set, that of worker processes added. The disk's cache is warm.

Usage: python benchmarks/decoding.py [--photos N] [--size WIDTHxHEIGHT] [--runs N]
       python benchmarks/decoding.py --folder 100000   opens a folder of that many through `open_data`, twice;
           with --train SECONDS, a backbone then learns them from the cache, within so many seconds
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from photos import unpacked
from PIL import Image, ImageOps

from visionbus.vision import Input, load
from visionbus.vision.datasets import Decoding, open_data
from visionbus.vision.datasets.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from visionbus.vision.datasets import TrainingData

SIDE = 224
BACKBONE = "tf_efficientnet_lite0"
CORES = len(os.sched_getaffinity(0))
PACKAGE = "lomiri-wallpapers-16.04"
NAMES = (
    *("Bridge", "Dragonfly", "aitzgorri", "friends", "greentock"),
    *("life", "picosdeeuropa", "seeding", "sunset", "umang"),
)
SMALL = (256, 192)


def photographs() -> list[Image.Image]:
    folder = unpacked() / PACKAGE / "usr/share/backgrounds"
    return [Image.open(next(folder.glob(f"{name}_*.jpg"))).convert("RGB") for name in NAMES]


def commented(jpeg: bytes, text: bytes) -> bytes:
    """Put a comment at the beginning of a JPEG."""
    return jpeg[:2] + b"\xff\xfe" + (2 + len(text)).to_bytes(2) + text + jpeg[2:]


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write photos into two folders, which are two classes."""
    contents: list[bytes] = []
    for photograph in photographs()[:count]:
        file = BytesIO()
        ImageOps.fit(photograph, size).save(file, "JPEG", quality=90)
        contents.append(file.getvalue())
    for number in range(count):
        path = folder / f"class{number % 2}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(commented(contents[number % len(contents)], str(number).encode()))


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        resized = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
        return np.asarray(resized)


def by_load(path: Path) -> np.ndarray:
    return load(path.read_bytes(), Input(SIDE, SIDE))


def gathered(one: Callable[[Path], np.ndarray], executor: Executor, paths: list[Path]) -> None:
    images = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)
    for number, pixels in enumerate(executor.map(one, paths, chunksize=8)):
        images[number] = pixels


def into_cache(paths: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as cache:
        decode(paths, Input(SIDE, SIDE), Decoding(cache=Path(cache), memory=0))


def peak(process: int | str = "self") -> int:
    """Return the largest resident set that a process has had, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def work(way: str, folder: Path) -> dict[str, float]:
    """Decode all photos in one way, in this process."""
    paths = sorted(folder.glob("*/*.jpg"))
    spent = 0
    began = time.perf_counter()
    if way == "visionbus":
        into_cache(paths)
    elif way.endswith("threads"):
        with ThreadPoolExecutor(CORES) as threads:
            gathered(by_pillow, threads, paths)
    else:
        with ProcessPoolExecutor(CORES, get_context("spawn")) as processes:
            gathered(by_load if way.startswith("load") else by_pillow, processes, paths)
            spent = sum(peak(child) for child in processes._processes)  # noqa: SLF001 (their ids are nowhere else)
    return {"seconds": time.perf_counter() - began, "MiB": peak() + spent}


WAYS = {
    "Pillow, threads": "Pillow's draft mode, threads",
    "Pillow, processes": "Pillow's draft mode, processes",
    "load, processes": "visionbus.vision.load, processes, no cache",
    "visionbus": "visionbus, into the cache",
}


def compare(folder: Path, runs: int) -> None:
    """Run each way in turn, and print what it took."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, outcomes in found.items():
            command = [sys.executable, __file__, "--way", way, str(folder)]
            outcomes.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    medians = {way: statistics.median(run["seconds"] for run in outcomes) for way, outcomes in found.items()}
    best = min(seconds for way, seconds in medians.items() if way.startswith("Pillow"))
    print("| way | seconds, median | least | most | of Pillow's better way | MiB |\n|---|---|---|---|---|---|")
    for way, outcomes in found.items():
        times = [run["seconds"] for run in outcomes]
        memory = statistics.median(run["MiB"] for run in outcomes)
        print(
            f"| {WAYS[way]} | {medians[way]:.2f} | {min(times):.2f} | {max(times):.2f} | {medians[way] / best:.2f} | "
            f"{memory:.0f} |"
        )


def compare_sizes(temporary: Path, options: argparse.Namespace) -> None:
    for size in options.size or ("4000x3000", "500x375"):
        width, height = map(int, size.split("x"))
        count = options.photos if width * height > 10**6 else 10 * options.photos
        folder = temporary / size
        folder.mkdir()
        make_photos(folder, count, (width, height))
        mean = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / count / 1000
        print(f"\n{count} photos of {size}, {mean:.0f} kB each, to {SIDE}x{SIDE}, {CORES} cores, {options.runs} runs\n")
        compare(folder, options.runs)


def printing() -> Callable[[int, int], None]:
    """Return what is told of progress, and prints each tenth."""
    began, told = time.perf_counter(), 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if done * 10 // total > told:
            told = done * 10 // total
            print(f"{done} of {total} after {time.perf_counter() - began:.0f} s, {peak()} MiB", file=sys.stderr)

    return tell


def cut_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write windows of the photographs, at half their size, into two folders, which are two classes."""
    generator = np.random.default_rng(0)
    halves = [photograph.reduce(2) for photograph in photographs()]
    for number in range(count):
        source = halves[number % len(halves)]
        left, top = (int(generator.integers(extent - side)) for extent, side in zip(source.size, size, strict=True))
        path = folder / f"class{number % 2}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        source.crop((left, top, left + size[0], top + size[1])).save(path, quality=90)


def open_folder(folder: Path, count: int, budget: float | None) -> None:
    """Open a folder twice, decoding all of it and then from the cache, and train on it, each in a new process."""
    cut_photos(folder, count, SMALL)
    print(f"{count} photos of {SMALL[0]}x{SMALL[1]} in two classes, fitted to {SIDE}x{SIDE}, {CORES} cores\n")
    print("| | training + validation | seconds | MiB, resident | of it not the mapped file | cache, GiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for what in ("decoded", "from the cache", *([f"trained, {budget:g} s"] if budget else [])):
            command = [sys.executable, __file__, "--opened", what, str(folder), cache]
            subprocess.run(command, check=True)


def opened(what: str, folder: Path, cache: Path) -> None:
    """Open a folder in this process, and print a row of the table."""
    began = time.perf_counter()
    data = open_data(folder, Input(SIDE, SIDE), decoding=Decoding(cache=cache, progress=printing()))
    if what.startswith("trained"):
        learn(data, cache, float(what.split()[1]))
    seconds = time.perf_counter() - began
    own = int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) // 1024
    kept = sum(path.stat().st_size for path in cache.rglob("*.pixels")) / 2**30
    images = f"{len(data.train)} + {len(data.validation or ())}"
    print(f"| {what} | {images} | {seconds:.1f} | {peak()} | {own} | {kept:.1f} |", flush=True)


def learn(data: TrainingData, folder: Path, budget: float) -> None:
    """Train a backbone within a time budget, and tell of it on stderr."""
    from rich.console import Console  # noqa: PLC0415 (what opens data alone needs no torch)

    from visionbus.training import train  # noqa: PLC0415 (the same)

    train(data, folder / "model.onnx", backbone=BACKBONE, time_budget=budget, console=Console(stderr=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=80)
    parser.add_argument("--size", action="append", help="by default 4000x3000, and ten times as many of 500x375")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=int, metavar="N", help="open a folder of N photos of 256x192")
    parser.add_argument("--train", type=float, metavar="SECONDS", help="and learn them, within a time budget")
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--opened", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(work(options.way[0], Path(options.way[1]))))
    elif options.opened:
        opened(options.opened[0], *map(Path, options.opened[1:]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            if options.folder:
                open_folder(Path(temporary), options.folder, options.train)
            else:
                compare_sizes(Path(temporary), options)


if __name__ == "__main__":
    main()
