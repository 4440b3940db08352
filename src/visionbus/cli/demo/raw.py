"""ONNX Runtime alone, to compare the system with: as many processes, one thread each, no bus and no database."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visionbus.vision.datasets import idx
from visionbus.vision.onnx import OnnxModel

if TYPE_CHECKING:
    from visionbus.cli.demo.children import Children

READY = "ready"
TOOK = "took "  # before seconds
PASSES = 3
MODULE = "visionbus.cli.demo.raw"


async def measure(children: Children, model: Path, file: Path, images: int, processes: int) -> float:
    """Give the images/s of `processes` processes that share the images of an IDX file, uint8 [image, height, width].

    `images` says how many they are.
    """
    gate, opener = os.pipe()  # all start when it closes
    ready = 0
    slowest = 0.0

    def hear(line: str) -> None:
        nonlocal ready, slowest
        if line == READY:
            ready += 1
            if ready == processes:
                os.close(opener)
        elif line.startswith(TOOK):
            slowest = max(slowest, float(line.removeprefix(TOOK)))

    started = [
        await children.start(
            f"raw-{number}", MODULE, str(model), str(file), f"{number}/{processes}", str(gate),
            hear=hear, descriptors=[gate],
        )
        for number in range(processes)
    ]  # fmt: skip
    os.close(gate)
    for one in started:
        await one.finished()
    return PASSES * images / slowest


def main() -> None:
    """Classify every n-th image, several times over, and print how many seconds it took."""
    model = OnnxModel(Path(sys.argv[1]))
    number, _, processes = sys.argv[3].partition("/")
    images = idx.parse(idx.read_bytes(Path(sys.argv[2])), sys.argv[2])
    share = np.ascontiguousarray(images[int(number) :: int(processes), ..., np.newaxis])
    model.logits(share)
    print(READY, flush=True)  # noqa: T201 (what the demo hears)
    os.read(int(sys.argv[4]), 1)
    start = time.perf_counter()
    for _ in range(PASSES):
        model.logits(share)
    print(f"{TOOK}{time.perf_counter() - start}")  # noqa: T201 (the same)


if __name__ == "__main__":
    main()
