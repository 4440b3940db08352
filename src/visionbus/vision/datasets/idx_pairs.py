"""Finds the pairs of IDX files, images and labels, that belong together."""

from pathlib import Path

import numpy.typing as npt

from visionbus.vision.datasets import idx
from visionbus.vision.datasets.listing import PART_NAMES, Part
from visionbus.vision.errors import DatasetError

_IMAGES = "-images-idx3-ubyte"
_LABELS = "-labels-idx1-ubyte"


def is_idx(path: Path) -> bool:
    """Return whether a file is an IDX file by its name, as `train-images-idx3-ubyte.gz` is."""
    return path.is_file() and "-idx" in path.name


def find_pairs(path: Path) -> dict[Part, tuple[Path, Path]]:
    """Return the files of images and labels by split, from a folder, or beside the file of images that is named."""
    folder = path if path.is_dir() else path.parent
    found: dict[Part, tuple[Path, Path]] = {}
    for images in sorted(folder.glob(f"*{_IMAGES}*")):
        stem = images.name.partition(_IMAGES)[0]
        labels = [folder / f"{stem}{_LABELS}{end}" for end in ("", ".gz")]
        if (part := PART_NAMES.get(stem.lower())) and (there := [one for one in labels if one.is_file()]):
            found[part] = (images, there[0])
    return found


def read_pairs(path: Path) -> dict[Part, tuple[npt.ArrayLike, npt.ArrayLike]]:
    """Read the pairs that belong to a folder, or to a file in it.

    Raises:
        DatasetError: if there is no pair for training, or a file is damaged.
    """
    pairs = find_pairs(path)
    if "train" not in pairs:
        raise DatasetError(f"{path} has no train{_IMAGES} with train{_LABELS} beside it: name a folder that has both")
    return {part: (_array(images), _array(labels)) for part, (images, labels) in pairs.items()}


def _array(path: Path) -> npt.ArrayLike:
    return idx.parse(idx.read_bytes(path), str(path))
