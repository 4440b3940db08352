"""Turns arrays of images and labels as people have them into a data set's: uint8, channels last, labels as indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.rows import batches, stored
from visionbus.vision.errors import DatasetError
from visionbus.vision.images.colour import over_white

Labels = list[int] | list[str]

_CHANNELS = {1, 3, 4}
_ALPHA = 4  # channels of RGBA


def images_from(given: npt.ArrayLike, source: str, memory: int) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Return images as uint8 [image, height, width, 1 or 3], and notes on what was done to them.

    Bytes without alpha are returned as a view.

    Args:
        given: an array of numbers [image, height, width], [image, height, width, channel] or [image, channel, height,
            width], with 1, 3 or 4 channels (alpha is laid over white): 0 to 255, floats also 0 to 1, uint16 also 0 to
            65,535.
        source: what to call it in errors.
        memory: above this many bytes, what is converted is memory-mapped from a temporary file.

    Raises:
        DatasetError: if it has another shape or type, or values that are not finite or out of range.
    """
    array, notes = _channels_last(given, source)
    factor, said = _factor(array, source)
    notes += said
    shape = array.shape
    if shape[3] == _ALPHA:
        notes.append(f"{source}: alpha is laid over white")
        shape = (*shape[:3], 3)
    elif factor is None:
        return array.astype(np.uint8, copy=False), notes
    return stored((_plain(part, factor) for part in batches(array, shape)), shape, memory), notes


def _channels_last(given: npt.ArrayLike, source: str) -> tuple[npt.NDArray[Any], list[str]]:
    """Return a view [image, height, width, channel]."""
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
            "with 1, 3 or 4 channels"
        )
    return array, notes


def _factor(array: npt.NDArray[Any], source: str) -> tuple[float | None, list[str]]:
    """Return what scales the values to 0..255, None if they are bytes, and notes."""
    if array.dtype == np.uint8 or not array.size:
        return None, []
    if array.dtype == np.bool_:
        return 255.0, [f"{source}: true is taken as white"]
    least, most = float(array.min()), float(array.max())
    if not np.isfinite([least, most]).all():
        bad = [number for number, image in enumerate(array) if not np.isfinite(image).all()]
        raise DatasetError(
            f"{source} has values that are not finite (NaN or infinite) in {len(bad)} images, first in number "
            f"{bad[0]}: remove these images"
        )
    factor = 1.0
    if array.dtype.kind == "f" and most <= 1:
        factor = 255.0
    elif array.dtype == np.uint16 and most > 255:
        factor = 255 / 65535
    if least < 0 or most * factor > 255:
        raise DatasetError(f"{source} has values from {least:g} to {most:g}: scale them to 0..255, or to 0..1")
    return factor, [f"{source}: {array.dtype} from {least:g} to {most:g} is scaled by {factor:g} to 0..255"]


def _plain(part: npt.NDArray[Any], factor: float | None) -> npt.NDArray[np.uint8]:
    """Scale some images, and lay alpha over white."""
    if factor is not None:
        part = np.rint(part.astype(np.float64) * factor).astype(np.uint8)
    return over_white(part) if part.shape[3] == _ALPHA else part


def label_names(given: npt.ArrayLike, count: int, source: str) -> Labels:
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
    if array.dtype.kind in "US" or (array.dtype.hasobject and all(isinstance(one, str) for one in array)):
        return texts(array)
    if array.dtype.hasobject or array.dtype.kind not in "uif":
        raise DatasetError(f"{source} has values of type {array.dtype}: give whole numbers or texts")
    if not np.isfinite(array).all() or (array != np.floor(array)).any() or (count and array.min() < 0):
        raise DatasetError(f"{source} has labels that are no whole number of at least 0: leave out unlabelled images")
    return [int(value) for value in array.tolist()]


def texts(array: npt.NDArray[Any]) -> list[str]:
    """Return the values of an array, texts, bytes of UTF-8 or numbers, as texts."""
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in array.tolist()]


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
