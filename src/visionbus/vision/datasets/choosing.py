"""Chooses what image files are fitted to, from their headers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from visionbus.vision.errors import DatasetError, ImageError
from visionbus.vision.files import read_limited
from visionbus.vision.images import Input, Mode
from visionbus.vision.images.formats import LIMITS, header

_SAMPLE = 200  # images whose headers are read
SIDE = 64  # pixels; enough for a network that is trained from scratch in minutes on a CPU


@dataclass(frozen=True)
class Look:
    """What image files look like, by the headers of some of them.

    Attributes:
        sizes: height and width of each that was looked at, in pixels; at least one.
        grey: whether all of these are greyscale.
    """

    sizes: tuple[tuple[int, int], ...]
    grey: bool

    @property
    def side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return int(median(min(size) for size in self.sizes))

    def square(self, side: int) -> Input:
        """Return a square Input of `side` pixels per side, to which the images are cropped; grey if they are."""
        mode: Mode = "L" if self.grey else "RGB"
        return Input(side, side, mode, fit="crop")


Chooser = Callable[[Look], Input]  # of what image files are fitted to


def look_at(paths: Sequence[Path]) -> Look:
    """Look at about 200 image files, evenly chosen.

    Raises:
        DatasetError: if none of them can be read.
    """
    headers = [found for path in paths[:: max(len(paths) // _SAMPLE, 1)] if (found := _header(path))]
    if not headers:
        raise DatasetError(f"none of the files looked at, such as {paths[0]}, is an image: remove what is not an image")
    return Look(tuple((height, width) for height, width, _ in headers), all(grey for _, _, grey in headers))


def look_at_one(content: bytes) -> Look:
    """Look at one image file.

    Raises:
        ImageError: if its header cannot be read.
    """
    height, width, grey = header(content)
    return Look(((height, width),), grey)


def suitable_input(look: Look) -> Input:
    """Choose an Input for images: the size that they share if it is small, else a square of at most 64 pixels per side.

    It is greyscale if all of them are.
    """
    square = look.square(min(SIDE, look.side))
    sizes = set(look.sizes)
    height, width = next(iter(sizes))
    return Input(height, width, square.mode) if len(sizes) == 1 and max(height, width) <= SIDE else square


def _header(path: Path) -> tuple[int, int, bool] | None:
    try:
        return header(read_limited(path, LIMITS.size))
    except (ImageError, OSError):
        return None
