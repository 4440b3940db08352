"""Reads a folder with one subfolder of images per class."""

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
from visionbus.vision.files import read_limited
from visionbus.vision.images import Input, Mode, load
from visionbus.vision.images.formats import LIMITS, header

_SAMPLE = 200  # images whose headers are read to choose an Input
_SIDE = 64  # pixels; enough for a network that is trained from scratch in minutes on a CPU
_IGNORED = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read.

    Attributes:
        name: its path, relative to the folder.
        reason: why it could not be used.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Folder:
    """The images of a folder.

    Attributes:
        dataset: the images that could be read; their `names` are paths relative to the folder.
        input: the shape that they were fitted to.
        skipped: the files that could not be read.
    """

    dataset: Dataset
    input: Input
    skipped: tuple[Skipped, ...]


def read_folder(folder: Path, spec: Input | None = None, *, classes: Sequence[str] | None = None) -> Folder:
    """Decode all images of a folder with one subfolder per class; deeper folders belong to the class above them.

    Hidden files and folders are ignored; files that are not intact images are skipped and reported.

    Args:
        folder: the folder with the subfolders.
        spec: what to fit the images to; by default what suits them, see `suitable_input`.
        classes: the names and their order; by default the subfolders that have files in them, sorted by name.

    Raises:
        DatasetError: if there is no class, no intact image, or a subfolder that is not in `classes`.
    """
    paths = list(_images(folder))
    found = sorted({path.relative_to(folder).parts[0] for path in paths})
    if not found:
        raise DatasetError(f"{folder} has no subfolders with images: make one subfolder per class")
    classes = tuple(found) if classes is None else tuple(classes)
    if unknown := [name for name in found if name not in classes]:
        raise DatasetError(
            f"{folder} has the subfolders {', '.join(unknown)}, which are not among the classes: {', '.join(classes)}"
        )
    spec = spec or suitable_input(paths)
    names = [str(path.relative_to(folder)) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding releases the GIL
        decoded = list(threads.map(lambda path: _decode(path, spec), paths))
    skipped = tuple(Skipped(name, each) for name, each in zip(names, decoded, strict=True) if isinstance(each, str))
    intact = [(path, each) for path, each in zip(paths, decoded, strict=True) if not isinstance(each, str)]
    if not intact:
        raise DatasetError(f"none of the {len(paths)} files in {folder} is an intact image; {names[0]}: {decoded[0]}")
    labels = [classes.index(path.relative_to(folder).parts[0]) for path, _ in intact]
    dataset = Dataset(
        np.stack([pixels for _, pixels in intact]),
        np.array(labels, dtype=np.int64),
        classes,
        tuple(str(path.relative_to(folder)) for path, _ in intact),
    )
    return Folder(dataset, spec, skipped)


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


def _images(folder: Path) -> Iterator[Path]:
    """Yield the files below the subfolders, sorted; links to folders are not followed, to avoid loops."""
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if Path(place) != folder:
            for name in sorted(files):
                if not name.startswith(".") and name.lower() not in _IGNORED:
                    yield Path(place, name)


def _decode(path: Path, spec: Input) -> npt.NDArray[np.uint8] | str:
    """Return the pixels, or the reason why there are none."""
    try:
        return load(read_limited(path, LIMITS.size), spec)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return str(error.strerror)


def _header(path: Path) -> tuple[int, int, bool] | None:
    try:
        return header(read_limited(path, LIMITS.size))
    except (ImageError, OSError):
        return None
