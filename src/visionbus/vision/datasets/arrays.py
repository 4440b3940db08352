"""Turns arrays of images and labels as people have them into a data set's: uint8, channels last, labels as indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from visionbus.vision.errors import DatasetError

_CHANNELS = {1, 3}


def images_from(given: npt.ArrayLike, source: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Return images as uint8 [image, height, width, channel], and notes on what was done to them.

    Args:
        given: an array of numbers [image, height, width], [image, height, width, channel] or [image, channel, height,
            width]: 0 to 255, floats also 0 to 1, uint16 also 0 to 65,535.
        source: what to call it in errors.

    Raises:
        DatasetError: if it has another shape or type, or values that are not finite or out of range.
    """
    array = np.asanyarray(given)
    notes: list[str] = []
    if array.dtype.hasobject or array.dtype.kind not in "buif":
        raise DatasetError(f"{source} has values of type {array.dtype}: give an array of numbers of one shape")
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim == 4 and array.shape[3] not in _CHANNELS and array.shape[1] in _CHANNELS:
        array = np.moveaxis(array, 1, 3)
        notes.append(f"{source}: channels stood first, and are moved last")
    if array.ndim != 4 or array.shape[3] not in _CHANNELS or not all(array.shape[1:]):
        raise DatasetError(
            f"{source} has shape {np.shape(given)}: give [image, height, width], or [image, height, width, channel] "
            "with 1 or 3 channels"
        )
    pixels, said = _bytes(array, source)
    return pixels, notes + said


def _bytes(array: npt.NDArray[Any], source: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Scale values to 0..255."""
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8, copy=False), []
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), [f"{source}: true is taken as white"]
    least, most = float(array.min()), float(array.max())
    if not np.isfinite([least, most]).all():
        bad = ~np.isfinite(array).all(axis=(1, 2, 3))
        raise DatasetError(
            f"{source} has values that are not finite (NaN or infinite) in {bad.sum()} images, first in number "
            f"{bad.argmax()}: remove these images"
        )
    factor = 1.0
    if array.dtype.kind == "f" and most <= 1:
        factor = 255.0
    elif array.dtype == np.uint16 and most > 255:
        factor = 255 / 65535
    if least < 0 or most * factor > 255:
        raise DatasetError(f"{source} has values from {least:g} to {most:g}: scale them to 0..255, or to 0..1")
    scaled = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), 256):  # in parts: floats take four or eight times the memory
        scaled[start : start + 256] = np.rint(array[start : start + 256].astype(np.float64) * factor)
    return scaled, [f"{source}: {array.dtype} from {least:g} to {most:g} is scaled by {factor:g} to 0..255"]


def label_names(given: npt.ArrayLike, count: int, source: str) -> list[int] | list[str]:
    """Return labels as whole numbers, or as names.

    Raises:
        DatasetError: if they are not one whole number of at least 0, or one text, for each of `count` images.
    """
    array = np.asarray(given)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise DatasetError(
            f"{source} has shape {np.shape(given)}, but there are {count} images: give one label for each"
        )
    if array.dtype.kind in "US":
        return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in array.tolist()]
    if array.dtype.hasobject or array.dtype.kind not in "uif":
        raise DatasetError(f"{source} has values of type {array.dtype}: give whole numbers or texts")
    if not np.isfinite(array).all() or (array != np.floor(array)).any() or (count and array.min() < 0):
        raise DatasetError(f"{source} has labels that are no whole number of at least 0: leave out unlabelled images")
    return [int(value) for value in array.tolist()]


def classes_of(labels: Sequence[int | str], classes: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Return the names of the classes: those given, or the labels that occur, numbers in their order.

    Raises:
        DatasetError: if a label is no index into, or none of, the classes given.
    """
    present = set(labels)
    if classes is None:
        return tuple(str(label) for label in sorted(present, key=lambda one: (isinstance(one, str), one)))
    known: set[int | str] = set(classes) | set(range(len(classes)))
    if unknown := sorted(map(str, present - known)):
        raise DatasetError(
            f"{source} has labels that match no class, such as {unknown[0]!r}; classes: {', '.join(classes)}"
        )
    return tuple(classes)


def indices(labels: Sequence[int | str], classes: Sequence[str], *, named: bool) -> npt.NDArray[np.int64]:
    """Return labels as int64 indices into `classes`; `named` says whether numbers are indices into named classes."""
    place = {name: index for index, name in enumerate(classes)}
    return np.array(
        [label if named and isinstance(label, int) else place[str(label)] for label in labels], dtype=np.int64
    )
