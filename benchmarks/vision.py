"""What an image costs on one core, step by step: decoding, inference by batch size, predictions.

Usage: python benchmarks/vision.py [--runs N]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from visionbus.vision import Input, load
from visionbus.vision.images import raw
from visionbus.vision.model import predictions
from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 0.3  # seconds per measurement


def microseconds(work: Callable[[], object], images: int) -> float:
    """Repeat for a while; return the time per image."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < BUDGET:
        work()
        done += images
    return spent / done * 1e6


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def cases() -> list[tuple[str, Callable[[], object], int]]:
    generator = np.random.default_rng(0)
    model = OnnxModel(default_model())
    model.warm_up()
    batch = generator.integers(0, 256, (256, *model.input.shape), dtype=np.uint8)
    small = encoded(Image.fromarray(batch[0, ..., 0]), "PNG")
    smooth = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((4000, 3000))
    photo = encoded(smooth, "JPEG")
    logits = model.logits(batch)
    colour = Input(64, 64, fit="crop")
    return [
        ("raw pixels checked", lambda: raw(batch[0].tobytes(), "28,28,1", model.input), 1),
        ("PNG of 28 x 28, grey", lambda: load(small, model.input), 1),
        ("the same by Pillow alone", lambda: np.asarray(Image.open(io.BytesIO(small))), 1),
        ("JPEG of 4000 x 3000 to 64 x 64", lambda: load(photo, colour), 1),
        *((f"logits, batch {n}", lambda n=n: model.logits(batch[:n]), n) for n in (1, 16, 64, 256)),
        *((f"predictions, batch {n}", lambda n=n: predictions(logits[:n], model.classes), n) for n in (1, 64, 256)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="measurements of each (default 5)")
    runs = parser.parse_args().runs
    print("| microseconds per image, one core | median | least | most |\n|---|---|---|---|")
    for name, work, images in cases():
        times = [microseconds(work, images) for _ in range(runs)]
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} | {max(times):.1f} |")


if __name__ == "__main__":
    main()
