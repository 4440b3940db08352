"""Shares a data set with other processes as files that each maps into its memory: no copy per process."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from visionbus.vision import Dataset


@dataclass(frozen=True)
class MappedArray:
    """An array that lies in a file.

    Attributes:
        path: the file.
        offset: of the first value, in bytes.
        dtype: numpy's name of the type.
        shape: of the array.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def open(self) -> npt.NDArray[np.generic]:
        """Return the array, which can be read only."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True)
class SharedDataset:
    """A data set whose arrays lie in files."""

    images: MappedArray
    labels: MappedArray
    classes: tuple[str, ...]

    def open(self) -> Dataset:
        """Return the data set, without the images' names."""
        return Dataset(self.images.open(), np.asarray(self.labels.open()), self.classes)  # type: ignore[arg-type]


def share(dataset: Dataset, folder: Path) -> SharedDataset:
    """Return where the arrays of a data set lie; those that lie in no file are written into `folder`.

    Raises:
        OSError: if there is no room for them.
    """
    return SharedDataset(_mapped(dataset.images, folder), _mapped(dataset.labels, folder), dataset.classes)


def _mapped(array: npt.NDArray[np.generic], folder: Path) -> MappedArray:
    root = _root(array)
    if root is not None and array.flags.c_contiguous:
        path, start = root
        return MappedArray(path, start, array.dtype.str, array.shape)
    path = str(folder / f"{len(list(folder.iterdir()))}.array")
    np.ascontiguousarray(array).tofile(path)
    return MappedArray(path, 0, array.dtype.str, array.shape)


def _root(array: npt.NDArray[np.generic]) -> tuple[str, int] | None:
    """Return the file that an array is a view of, and where in it the array begins; None if it is of memory."""
    root: object = array
    while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not root.filename or not Path(root.filename).is_file():
        return None
    begin = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), root.offset + begin
