"""Writes the data sets in the form that each contestant reads, once, outside of what is timed.

Fashion-MNIST as Keras and torchvision keep it, as a folder of PNG files, and as the 54,000 + 6,000 images on which
schedules are chosen; the photographs of `photos.py`.
"""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import numpy as np
import photos
from PIL import Image

from visionbus.cache import cache_folder
from visionbus.vision.datasets import fashion_mnist

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from visionbus.vision import Dataset

PARTS = {"train": ("train", "training"), "test": ("t10k", "testing")}
HELD_OUT = 6_000


def idx(array: np.ndarray) -> bytes:
    """Return uint8 values of any shape in the IDX format."""
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def files(part: Dataset, prefix: str) -> dict[str, bytes]:
    """Return the two files of a part, by the names that the publisher gave them."""
    return {
        f"{prefix}-images-idx3-ubyte": idx(part.images[..., 0]),
        f"{prefix}-labels-idx1-ubyte": idx(np.asarray(part.labels)),
    }


def for_keras(folder: Path) -> None:
    """Write what `keras.datasets.fashion_mnist` reads where KERAS_HOME is the folder."""
    where = folder / "datasets" / "fashion-mnist"
    where.mkdir(parents=True)
    for part, (prefix, _) in PARTS.items():
        for name, content in files(fashion_mnist(part), prefix).items():
            (where / f"{name}.gz").write_bytes(gzip.compress(content))


def for_torchvision(folder: Path) -> None:
    """Write what `torchvision.datasets.FashionMNIST` reads."""
    where = folder / "FashionMNIST" / "raw"
    where.mkdir(parents=True)
    for part, (prefix, _) in PARTS.items():
        for name, content in files(fashion_mnist(part), prefix).items():
            (where / name).write_bytes(content)


def as_pictures(folder: Path) -> None:
    """Write PNG files, as the MNIST that fastai's documentation uses: training/CLASS/*.png and testing/CLASS/*.png."""
    for part, (_, name) in PARTS.items():
        dataset = fashion_mnist(part)
        for label in range(10):
            (folder / name / str(label)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
            Image.fromarray(image[..., 0]).save(folder / name / str(label) / f"{number:05}.png")


def for_schedules(folder: Path) -> None:
    """Write the training images only, 54,000 to learn from and 6,000 to choose by: the test part is not in it."""
    folder.mkdir()
    dataset = fashion_mnist("train")
    order = np.random.default_rng(0).permutation(len(dataset.labels))
    rest, held_out = order[HELD_OUT:], order[:HELD_OUT]
    np.savez(
        folder / "fashion-mnist.npz",
        x_train=dataset.images[rest],
        y_train=dataset.labels[rest],
        x_validation=dataset.images[held_out],
        y_validation=dataset.labels[held_out],
    )


KINDS: dict[str, Callable[[Path], None]] = {
    "keras": for_keras,
    "torchvision": for_torchvision,
    "pictures": as_pictures,
    "schedules": for_schedules,
    "photos": photos.make,
}


def provide(kinds: tuple[str, ...]) -> Path:
    """Make the data sets of these kinds that are not there yet; return the folder that holds each under its name."""
    root = cache_folder("bench-training")
    root.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        if not (root / kind).exists():
            print(f"writing the data for {kind} into {root}", flush=True)
            unfinished = root / f"{kind}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            KINDS[kind](unfinished)
            unfinished.rename(root / kind)
    return root
