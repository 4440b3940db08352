"""Takes data from the user's own program: arrays, or images one by one."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.rows import Rows
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input, load


@runtime_checkable
class ArrayData(Protocol):
    """Labelled images as two arrays; `classes` and `names`, as of `Dataset`, are taken where there are such."""

    @property
    def images(self) -> npt.ArrayLike:
        """The images, as `open_data` takes arrays."""

    @property
    def labels(self) -> npt.ArrayLike:
        """Whole numbers of at least 0, or names, one per image."""


@runtime_checkable
class ImageStream(Protocol):
    """Labelled images one by one; `classes`, the names of the labels, are taken where there are such."""

    def __iter__(self) -> Iterator[tuple[object, int | str]]:
        """Yield each image, the bytes of a file or a uint8 array of one shape for all, with its label."""


def collect(stream: ImageStream, spec: Input | None, memory: int) -> tuple[npt.ArrayLike, list[int | str]]:
    """Go once through a stream; return images uint8 [image, height, width, channel], and labels.

    Args:
        stream: the images with their labels.
        spec: what files are fitted to; needed if there are any.
        memory: above this many bytes, the images are memory-mapped from a temporary file.

    Raises:
        DatasetError: if an image cannot be used, or has another shape than the first.
    """
    labels: list[int | str] = []
    with Rows(memory) as rows:
        for number, (image, label) in enumerate(stream):
            rows.append(_pixels(image, spec, number))
            labels.append(label if isinstance(label, str) else int(label))
        if not labels:
            raise DatasetError("the stream has no images: yield (image, label)")
        return rows.finish(), labels


def _pixels(image: object, spec: Input | None, number: int) -> npt.NDArray[np.uint8]:
    if isinstance(image, bytes):
        if spec is None:
            raise DatasetError("the stream yields files: say what to fit them to, as in open_data(data, Input(64, 64))")
        return load(image, spec)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in {2, 3}:
        raise DatasetError(
            f"image {number} of the stream is {array.dtype} {array.shape}: yield uint8 [height, width, channel], or "
            "the bytes of a file"
        )
    return array if array.ndim == 3 else array[..., np.newaxis]
