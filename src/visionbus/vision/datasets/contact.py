"""Draws a contact sheet per class: a picture of some of its images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from visionbus.vision.datasets.dataset import Dataset

_COLUMNS = 10
_MOST = 50  # images on a sheet
_GAP = 4
_TITLE = 16
_TILE = 64  # pixels that small images are enlarged to, by a whole factor


def write_sheets(dataset: Dataset, folder: Path) -> Iterator[Path]:
    """Write a PNG for each class that has images, with up to 50 of them, evenly chosen; yield each path.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members):
            path = folder / f"{label:03d}-{_plain(name)}.png"
            _sheet(dataset, members, name).save(path)
            yield path


def evenly(members: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """Choose at most `most` of these indices, int [image], evenly spread over them."""
    chosen = np.unique(np.linspace(0, len(members) - 1, min(most, len(members))).astype(np.intp))
    return np.take(members, chosen)


def _sheet(dataset: Dataset, members: npt.NDArray[np.intp], name: str) -> Image.Image:
    shown = evenly(members, _MOST)
    height, width = dataset.images.shape[1:3]
    factor = max(_TILE // max(height, width), 1)
    across, down = width * factor + _GAP, height * factor + _GAP
    rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * across + _GAP, _TITLE + rows * down + _GAP), "white")
    ImageDraw.Draw(sheet).text((_GAP, 2), f"{_ascii(name)}: {len(shown)} of {len(members)}", fill="black")
    for number, index in enumerate(shown):
        pixels = np.kron(dataset.images[index], np.ones((factor, factor, 1), np.uint8))
        tile = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        sheet.paste(tile, (_GAP + number % _COLUMNS * across, _TITLE + _GAP + number // _COLUMNS * down))
    return sheet


def _ascii(name: str) -> str:
    """Return a name in letters that every font has."""
    return name.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")


def _plain(name: str) -> str:
    """Return a name that is safe as a file's."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:60]
