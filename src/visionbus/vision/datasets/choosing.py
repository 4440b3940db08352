"""Chooses what image files are fitted to, from their headers."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from visionbus.vision.errors import DatasetError, ImageError
from visionbus.vision.files import read_limited
from visionbus.vision.images import Input, Mode
from visionbus.vision.images.formats import LIMITS, header

_SAMPLE = 200  # images whose headers are read
_SIDE = 64  # pixels; enough for a network that is trained from scratch in minutes on a CPU


def suitable_input(paths: Sequence[Path]) -> Input:
    """Choose an Input for images: the size that they share if it is small, else a square of at most 64 pixels per side.

    Up to about 200 images are looked at; the Input is greyscale if all of them are.

    Raises:
        DatasetError: if none of them can be read.
    """
    headers = [found for path in paths[:: max(len(paths) // _SAMPLE, 1)] if (found := _header(path))]
    if not headers:
        raise DatasetError(f"none of the files looked at, such as {paths[0]}, is an image: remove what is not an image")
    mode: Mode = "L" if all(grey for _, _, grey in headers) else "RGB"
    sizes = {(height, width) for height, width, _ in headers}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= _SIDE:
        return Input(height, width, mode)
    side = min(_SIDE, int(median(min(height, width) for height, width, _ in headers)))
    return Input(side, side, mode, fit="crop")


def _header(path: Path) -> tuple[int, int, bool] | None:
    try:
        return header(read_limited(path, LIMITS.size))
    except (ImageError, OSError):
        return None
