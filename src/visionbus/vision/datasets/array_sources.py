"""Gets arrays from files that hold such, or from the user's own program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy.typing as npt

from visionbus.vision.datasets.choosing import Chooser
from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.idx_pairs import is_idx, read_pairs
from visionbus.vision.datasets.listing import Part, Skipped
from visionbus.vision.datasets.npz import read_npz
from visionbus.vision.datasets.streams import ArrayData, ImageStream, collect
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input

FASHION_MNIST = "fashion-mnist"

Source = str | Path | Dataset | ArrayData | ImageStream | tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays as they were found.

    Attributes:
        name: what the data is called.
        layout: what was recognised, in words.
        parts: images and labels of each split.
        classes: the names of the classes, if they are known.
        notes: what else there is to say, a sentence each.
        names: what the images of training are called; empty if they have no names.
        skipped: the files among them that are broken.
    """

    name: str
    layout: str
    parts: Mapping[Part, tuple[npt.ArrayLike, npt.ArrayLike]]
    classes: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read_arrays(path: Path) -> Arrays:
    """Read an .npz file, or IDX files.

    Raises:
        DatasetError: if it is neither, or is damaged.
    """
    if path.suffix.lower() == ".npz" and path.is_file():
        parts, classes, notes = read_npz(path)
        return Arrays(path.stem, ".npz arrays", parts, classes, tuple(notes))
    if path.is_dir() or is_idx(path):
        return Arrays(path.resolve().name.partition(".")[0], "IDX files", read_pairs(path))
    what = "is not a folder" if path.exists() else "does not exist"
    raise DatasetError(
        f"{path} {what}: name {FASHION_MNIST}, or a folder with one subfolder per class, "
        "or a .csv, .tsv, .parquet, .npz or IDX file"
    )


def take_arrays(source: object, spec: Input | Chooser | None, memory: int) -> Arrays:
    """Take arrays from an object, or Fashion-MNIST by its name.

    Args:
        source: a pair of arrays, an `ArrayData`, an `ImageStream` or "fashion-mnist".
        spec: what the files of a stream are fitted to, or what chooses it by the first one.
        memory: above this many bytes, what a stream yields is memory-mapped.

    Raises:
        DatasetError: if it is none of these, or a stream yields what cannot be used.
    """
    if source == FASHION_MNIST:
        train, test = fashion_mnist("train"), fashion_mnist("test")
        both: dict[Part, tuple[npt.ArrayLike, npt.ArrayLike]] = {
            "train": (train.images, train.labels),
            "test": (test.images, test.labels),
        }
        return Arrays(FASHION_MNIST, "Fashion-MNIST", both, train.classes)
    if isinstance(source, tuple) and len(source) == 2:
        return Arrays("arrays", "arrays", {"train": source})
    classes = getattr(source, "classes", None)
    if isinstance(source, ArrayData):
        names = tuple(getattr(source, "names", ()))
        return Arrays("arrays", "arrays", {"train": (source.images, source.labels)}, classes, names=names)
    if isinstance(source, ImageStream):
        got = collect(source, spec, memory)
        parts: dict[Part, tuple[npt.ArrayLike, npt.ArrayLike]] = {"train": (got.images, got.labels)}
        return Arrays("stream", "a stream of images", parts, classes, names=got.names, skipped=got.skipped)
    raise DatasetError(f"{type(source).__name__} is no data: give a path, arrays, or an iterable of (image, label)")
