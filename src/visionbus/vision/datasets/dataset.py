"""A data set as one value: pixels, labels, and the names of the classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.rows import batches, stored
from visionbus.vision.errors import DatasetError
from visionbus.vision.names import is_name


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images of one shape, all in memory.

    Attributes:
        images: uint8 [image, height, width, channel], channel 1 (grey) or 3 (RGB).
        labels: int64 [image], each an index into `classes`.
        classes: the names of the classes, distinct texts that are not empty; label 0 is the first.
        names: where each image came from, in the order of the images; empty if unknown.

    Raises:
        DatasetError: if these do not fit together.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] not in {1, 3}:
            raise DatasetError(
                f"images must be uint8 [image, height, width, 1 or 3], not {self.images.dtype} {self.images.shape}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                f"labels must be int64, one for each of the {len(self.images)} images, "
                f"not {self.labels.dtype} {self.labels.shape}"
            )
        if unusable := [name for name in self.classes if not is_name(name)]:
            raise DatasetError(
                f"class names must be non-empty texts of valid Unicode, unlike {unusable[0]!r}: rename it"
            )
        if len(set(self.classes)) != len(self.classes):
            raise DatasetError(f"class names must be distinct, not {self.classes}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DatasetError(
                f"labels range from {self.labels.min()} to {self.labels.max()}, "
                f"but there are {len(self.classes)} classes: labels must be indices into the classes"
            )
        if self.names and len(self.names) != len(self.images):
            raise DatasetError(f"{len(self.names)} names for {len(self.images)} images: give one per image, or none")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def subset(self, indices: npt.NDArray[np.intp] | slice, *, memory: int | None = None) -> "Dataset":
        """Return some of the images; all classes are kept.

        Args:
            indices: which, int [image], in their order; or a slice, which gives a view that takes no memory.
            memory: more bytes of images than this are memory-mapped from a temporary file, not copied in memory.

        Raises:
            DatasetError: if there is no room for the temporary file.
        """
        if isinstance(indices, slice):
            return Dataset(self.images[indices], self.labels[indices], self.classes, self.names[indices])
        shape = (len(indices), *self.images.shape[1:])
        images = stored((self.images[part] for part in batches(indices, shape)), shape, memory)
        names = tuple(self.names[i] for i in indices) if self.names else ()
        return Dataset(images, self.labels[indices], self.classes, names)


def joined(first: Dataset, second: Dataset, memory: int) -> Dataset:
    """Return the images of two data sets with the same classes; above `memory` bytes they are memory-mapped.

    Raises:
        DatasetError: if there is no room for the temporary file.
    """
    shape = (len(first) + len(second), *first.images.shape[1:])
    parts = (part for images in (first.images, second.images) for part in batches(images, shape))
    labels = np.concatenate([first.labels, second.labels])
    names = first.names + second.names if first.names and second.names else ()
    return Dataset(stored(parts, shape, memory), labels, first.classes, names)


def split(dataset: Dataset, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split a data set in two, with the same proportions of the classes in both (stratified).

    Args:
        dataset: what to split.
        fraction: the fraction of each class that goes into the second part, above 0 and below 1. Of a class of two
            images or more, both parts get at least one; a class of one image stays in the first.
        seed: the same seed gives the same split.

    Returns:
        The first part, 1 - `fraction` of the images, and the second, each in the order of `dataset`.

    Raises:
        ValueError: if `fraction` is out of range.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be above 0 and below 1, not {fraction}")
    chosen = stratified(dataset.labels, fraction, seed)
    return dataset.subset(np.flatnonzero(~chosen)), dataset.subset(np.flatnonzero(chosen))


def stratified(labels: npt.NDArray[np.int64], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which images `split` puts into the second part, bool [image], for labels int64 [image]."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in range(int(labels.max(initial=-1)) + 1):
        members = np.flatnonzero(labels == label)
        wanted = min(max(round(len(members) * fraction), 1), len(members) - 1)
        if wanted > 0:
            chosen[generator.permutation(members)[:wanted]] = True
    return chosen
