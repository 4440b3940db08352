"""Finds the images that somebody names: files, folders, IDX files, Fashion-MNIST."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from visionbus.vision import DatasetError
from visionbus.vision.datasets import fashion_mnist, idx
from visionbus.vision.datasets.paths import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from visionbus.service.images import Content, Item, Pixels

FASHION_MNIST = "fashion-mnist"  # its test set; a file or folder of this name goes first
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_IDX = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")
_DATA = (*TABLES, ".npz")

Encoding = Literal["raw", "png"]


def find(words: Sequence[str], *, encode: Encoding = "raw", skipped: Callable[[str], None]) -> Iterator[Item]:
    """Yield the images of each word in turn: a file, a folder, an IDX file, or `fashion-mnist` (the test set).

    Of a folder all images within, by suffix and sorted; `skipped` is told of each other file, but for hidden ones. A
    file that is named itself is taken whatever its name, but for tables and archives. What comes twice is given once.
    The images of IDX files and of Fashion-MNIST are pixels, or with `encode="png"` PNG files, called `<word>/<index>`.

    Raises `OSError` for a path that is not there and `DatasetError` for a table or archive, before anything is given;
    and `DatasetError` for a damaged IDX file.
    """
    for word in words:
        if word != FASHION_MNIST:
            Path(word).stat()
        if word.lower().endswith(_DATA) and not Path(word).is_dir():
            raise DatasetError(f"{word} is a table or an archive, which only training takes: name its images' folder")
    return _find(words, encode, skipped)


def _find(words: Sequence[str], encode: Encoding, skipped: Callable[[str], None]) -> Iterator[Item]:
    seen: set[str] = set()
    for word in words:
        if word.lower().endswith(_IDX) or (word == FASHION_MNIST and not Path(word).exists()):
            if word not in seen:
                seen.add(word)
                yield from _encoded(word, _pixels(word), encode)
            continue
        for path in _files(word, skipped):
            if path not in seen:
                seen.add(path)
                yield path


def _files(word: str, skipped: Callable[[str], None]) -> Iterator[str]:
    if not Path(word).is_dir():
        yield os.path.normpath(word)
        return
    for folder, folders, names in os.walk(os.path.normpath(word)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 (ids are made of what was given)
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
                yield path
            else:
                skipped(f"{path}: not an image by its name")


def _pixels(word: str) -> Pixels:
    """Load uint8 [image, height, width] or [image, height, width, channel]."""
    if word == FASHION_MNIST:
        return fashion_mnist("test").images
    pixels = idx.parse(idx.read_bytes(Path(word)), word)
    if pixels.ndim not in {3, 4}:
        raise DatasetError(f"{word} holds no images: it has {pixels.ndim} dimensions instead of 3 or 4")
    return pixels


def _encoded(word: str, pixels: Iterable[Pixels], encode: Encoding) -> Iterator[tuple[str, Content]]:
    prefix = os.path.normpath(word)
    for index, image in enumerate(pixels):
        yield f"{prefix}/{index}", _png(image) if encode == "png" else image


def _png(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()
