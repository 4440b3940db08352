"""Finds the pairs of IDX files, images and labels, that belong together."""

import re
from pathlib import Path

import numpy.typing as npt

from visionbus.vision.datasets import idx
from visionbus.vision.datasets.listing import PART_NAMES, Part
from visionbus.vision.errors import DatasetError

_NAME = re.compile(r"(?:(?P<set>.+)-)?(?P<split>[^-]+)-(?P<what>images|labels)(?P<mark>[-.]idx)[13]-ubyte(?:\.gz)?")


def is_idx(path: Path) -> bool:
    """Return whether a file is an IDX file by its name, as `train-images-idx3-ubyte.gz` is."""
    return path.is_file() and _NAME.fullmatch(path.name) is not None


def find_pairs(path: Path) -> dict[Part, tuple[Path, Path]]:
    """Return the files of images and labels by split, from a folder, or beside the file that is named.

    Raises:
        DatasetError: if the folder has those of several data sets.
    """
    folder, own = (path, None) if path.is_dir() else (path.parent, _NAME.fullmatch(path.name))
    found: dict[str | None, dict[Part, tuple[Path, Path]]] = {}
    for images in sorted(folder.glob("*-images[-.]idx3-ubyte*")):
        name = _NAME.fullmatch(images.name)
        part = PART_NAMES.get(name["split"].lower()) if name else None
        if name is None or part is None or (own and own["set"] != name["set"]):
            continue
        stem = f"{images.name[: name.start('what')]}labels{name['mark']}1-ubyte"
        if there := [one for one in (folder / stem, folder / f"{stem}.gz") if one.is_file()]:
            found.setdefault(name["set"], {})[part] = (images, there[0])
    if len(found) > 1:
        raise DatasetError(f"{folder} has IDX files of several data sets: name a file of one of them, not the folder")
    return next(iter(found.values()), {})


def read_pairs(path: Path) -> dict[Part, tuple[npt.ArrayLike, npt.ArrayLike]]:
    """Read the pairs that belong to a folder, or to a file in it.

    Raises:
        DatasetError: if there is no pair, or a file is damaged.
    """
    pairs = find_pairs(path)
    if not pairs:
        raise DatasetError(
            f"{path} has no train-images-idx3-ubyte with train-labels-idx1-ubyte beside it: name a folder that has both"
        )
    return {part: (_array(images), _array(labels)) for part, (images, labels) in pairs.items()}


def _array(path: Path) -> npt.ArrayLike:
    return idx.parse(idx.read_bytes(path), str(path))
