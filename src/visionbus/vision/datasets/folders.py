"""Reads a folder that holds a folder of images for each class."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.errors import DatasetError, ImageError
from visionbus.vision.images import Input, Mode, load
from visionbus.vision.images.formats import header

_SAMPLE = 200  # images whose headers are looked at to choose an Input
_SIDE = 64  # pixels; what a network from scratch can learn from in minutes on a processor
_LITTER = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the data set.

    Attributes:
        name: its path within the folder.
        reason: why it could not be used.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Folder:
    """What was found in a folder.

    Attributes:
        dataset: the images that could be read; `names` are paths within the folder.
        input: what they were brought to.
        skipped: the files that could not be read.
    """

    dataset: Dataset
    input: Input
    skipped: tuple[Skipped, ...]


def read_folder(folder: Path, spec: Input | None = None, *, classes: Sequence[str] | None = None) -> Folder:
    """Decode every image of a folder in which each subfolder is a class, whatever lies deeper belonging to it.

    Hidden files and folders are passed over; files that are no sound images are skipped and named.

    Args:
        folder: where the subfolders lie.
        spec: what to bring the images to; by default what suits them, see `suitable_input`.
        classes: the names and their order; by default the subfolders that hold files, sorted by name.

    Raises:
        DatasetError: when there is no class, no sound image, or a subfolder that `classes` does not name.
    """
    paths = list(_images(folder))
    found = sorted({path.relative_to(folder).parts[0] for path in paths})
    if not found:
        raise DatasetError(f"{folder} holds no folders with images in them: make one folder a class")
    classes = tuple(found) if classes is None else tuple(classes)
    if unknown := [name for name in found if name not in classes]:
        raise DatasetError(f"{folder} has the folders {', '.join(unknown)}, which are none of {', '.join(classes)}")
    spec = spec or suitable_input(paths)
    names = [str(path.relative_to(folder)) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding lets other threads run
        decoded = list(threads.map(lambda path: _decode(path, spec), paths))
    skipped = tuple(Skipped(name, each) for name, each in zip(names, decoded, strict=True) if isinstance(each, str))
    sound = [(path, each) for path, each in zip(paths, decoded, strict=True) if not isinstance(each, str)]
    if not sound:
        raise DatasetError(f"none of the {len(paths)} files in {folder} is a sound image; {names[0]}: {decoded[0]}")
    labels = [classes.index(path.relative_to(folder).parts[0]) for path, _ in sound]
    dataset = Dataset(
        np.stack([pixels for _, pixels in sound]),
        np.array(labels, dtype=np.int64),
        classes,
        tuple(str(path.relative_to(folder)) for path, _ in sound),
    )
    return Folder(dataset, spec, skipped)


def suitable_input(paths: Sequence[Path]) -> Input:
    """Choose an Input for images: their own size when they have one in common and it is small, else a square of 64.

    Grey when all of the (at most 200) images looked at are, else RGB.

    Raises:
        DatasetError: when none of those can be read.
    """
    headers = [found for path in paths[:: max(len(paths) // _SAMPLE, 1)] if (found := _header(path))]
    if not headers:
        raise DatasetError(f"none of the files around {paths[0]} is an image")
    mode: Mode = "L" if all(grey for _, _, grey in headers) else "RGB"
    sizes = {(height, width) for height, width, _ in headers}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= _SIDE:
        return Input(height, width, mode)
    side = min(_SIDE, int(median(min(height, width) for height, width, _ in headers)))
    return Input(side, side, mode, fit="crop")


def _images(folder: Path) -> Iterator[Path]:
    """Name the files below the subfolders, sorted; links to folders are not followed, so that there are no loops."""
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if Path(place) != folder:
            for name in sorted(files):
                if not name.startswith(".") and name.lower() not in _LITTER:
                    yield Path(place, name)


def _decode(path: Path, spec: Input) -> npt.NDArray[np.uint8] | str:
    """Give the pixels, or the reason why there are none."""
    try:
        return load(path.read_bytes(), spec)
    except (ImageError, OSError) as error:
        return str(error)


def _header(path: Path) -> tuple[int, int, bool] | None:
    try:
        return header(path.read_bytes())
    except (ImageError, OSError):
        return None
