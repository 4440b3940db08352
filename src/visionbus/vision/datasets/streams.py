"""Takes data from the user's own program: arrays, or images one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.choosing import Chooser, look_at_one
from visionbus.vision.datasets.listing import Skipped
from visionbus.vision.datasets.rows import Rows
from visionbus.vision.errors import DatasetError, ImageError
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


@dataclass(frozen=True, eq=False)
class Collected:
    """What a stream yielded.

    Attributes:
        images: the intact ones, uint8 [image, height, width, channel].
        labels: of these.
        names: of these, which tell their places in the stream.
        skipped: the files that are broken.
    """

    images: npt.NDArray[np.uint8]
    labels: list[int | str]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def collect(stream: ImageStream, spec: Input | Chooser | None, memory: int) -> Collected:
    """Go once through a stream, past files that are broken.

    Args:
        stream: the images with their labels.
        spec: what files are fitted to, or what chooses it by the first one; needed if there are any.
        memory: above this many bytes, the images are memory-mapped from a temporary file.

    Raises:
        DatasetError: if an array is no image, or has another shape than the first; or if nothing is intact.
    """
    labels: list[int | str] = []
    names: list[str] = []
    skipped: list[Skipped] = []
    with Rows(memory) as rows:
        for number, (image, label) in enumerate(stream):
            name = f"image {number}"
            try:
                if isinstance(image, bytes) and callable(spec):
                    spec = spec(look_at_one(image))
                pixels = _pixels(image, spec, name)
            except ImageError as error:
                skipped.append(Skipped(name, str(error)))
                continue
            rows.append(pixels, name)
            labels.append(label if isinstance(label, str) else int(label))
            names.append(name)
        if not labels:
            if skipped:
                raise DatasetError(
                    f"all images of the stream are broken, such as {skipped[0].name}: {skipped[0].reason}"
                )
            raise DatasetError("the stream has no images: yield (image, label)")
        return Collected(rows.finish(), labels, tuple(names), tuple(skipped))


def _pixels(image: object, spec: object, name: str) -> npt.NDArray[np.uint8]:
    if isinstance(image, bytes):
        if not isinstance(spec, Input):
            raise DatasetError("the stream yields files: say what to fit them to, as in open_data(data, Input(64, 64))")
        return load(image, spec)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in {2, 3}:
        raise DatasetError(
            f"{name} of the stream is {array.dtype} {array.shape}: yield uint8 [height, width, channel], or "
            "the bytes of a file"
        )
    return array if array.ndim == 3 else array[..., np.newaxis]
