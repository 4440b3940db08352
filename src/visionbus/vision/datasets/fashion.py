"""Loads Fashion-MNIST: finds its four files on this machine, or fetches them.

Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms (2017).
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn

import numpy as np

from visionbus.cache import cache_folder
from visionbus.vision.datasets import fetch, idx
from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.errors import DatasetError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

#: SHA-256 of each file, unpacked: the publisher's and Debian's archives differ, their contents do not.
SHA256: Mapping[str, str] = MappingProxyType(
    {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CACHE = "fashion-mnist"
FOLDER_VARIABLE = "VISIONBUS_DATA"

Part = Literal["train", "test"]

_log = logging.getLogger(__name__)


def fashion_mnist(part: Part = "train", *, folder: Path | None = None) -> Dataset:
    """Load the 60,000 training or the 10,000 test images, uint8 [n, 28, 28, 1].

    If `folder` is given, the files must be there. Otherwise they are looked for in the folder named by the environment
    variable VISIONBUS_DATA, in the cache, and in Debian's package, then fetched into the cache. Their SHA-256 is always
    checked.

    Raises:
        DatasetError: if the files cannot be found or fetched, or a file outside the cache is damaged.
    """
    prefix = {"train": "train", "test": "t10k"}[part]
    images = idx.parse(_content(f"{prefix}-images-idx3-ubyte", folder), f"{prefix}-images-idx3-ubyte")
    labels = idx.parse(_content(f"{prefix}-labels-idx1-ubyte", folder), f"{prefix}-labels-idx1-ubyte")
    return Dataset(images[..., np.newaxis], labels.astype(np.int64), CLASSES)


def _content(name: str, folder: Path | None) -> bytes:
    """Return the content of one file, wherever it is found, unpacked and checked."""
    if folder is not None:
        return _first(name, [folder]) or _missing(name, folder)
    variable = os.environ.get(FOLDER_VARIABLE)
    named = [Path(variable), Path(variable) / "fashion-mnist"] if variable else []
    return _first(name, named) or _cached(name) or _first(name, [DEBIAN]) or _fetched(name)


def _first(name: str, folders: list[Path]) -> bytes | None:
    """Return the file's content, gzipped or not, from the first folder that has it; None if none has."""
    for path in (folder / file for folder in folders for file in (f"{name}.gz", name)):
        if path.is_file():
            content = idx.read_bytes(path)
            if not fetch.is_intact(content, SHA256[name]):
                raise DatasetError(f"{path} is not of Fashion-MNIST (its SHA-256 differs): replace or remove it")
            return content
    return None


def _missing(name: str, folder: Path) -> NoReturn:
    raise DatasetError(f"{folder} has no {name}.gz: name the folder that has the four files of Fashion-MNIST")


def _cached(name: str) -> bytes | None:
    """Return the file from the cache; None if it is missing or damaged, so that it is fetched again."""
    try:
        return _first(name, [cache_folder(CACHE)])
    except DatasetError as error:
        _log.warning("%s; looking elsewhere", error)
        return None


def _fetched(name: str) -> bytes:
    """Fetch all four files into the cache, since they are used together, and return this one."""
    fetch.fetch(SHA256, cache_folder(CACHE))
    return _first(name, [cache_folder(CACHE)]) or _missing(name, cache_folder(CACHE))
