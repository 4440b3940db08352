"""Puts images into one array, in memory or memory-mapped from a temporary file."""

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from visionbus.vision.errors import DatasetError

_BATCH = 2**20  # values that are copied or converted at once


def batches(array: npt.NDArray[Any], shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """Yield consecutive parts of an array of images, or of their indices, for images of `shape` [image, ...]."""
    step = max(_BATCH // max(math.prod(shape[1:]), 1), 1)
    return (array[start : start + step] for start in range(0, len(array), step))


def stored(parts: Iterable[npt.NDArray[np.uint8]], shape: tuple[int, ...], memory: int | None) -> npt.NDArray[np.uint8]:
    """Return consecutive parts as one array.

    Args:
        parts: uint8 [image, height, width, channel], consecutive.
        shape: of all of them together.
        memory: above this many bytes, the array is memory-mapped from an unnamed file, and read-only; None for never.

    Raises:
        DatasetError: if there is no room for the file.
    """
    if memory is None or math.prod(shape) <= memory:
        images, start = np.empty(shape, np.uint8), 0
        for part in parts:
            images[start : start + len(part)] = part
            start += len(part)
        return images
    try:
        with tempfile.TemporaryFile() as file:
            file.writelines(np.ascontiguousarray(part).data for part in parts)
            file.flush()
            return np.memmap(file, np.uint8, "r", shape=shape)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> DatasetError:
    return DatasetError(f"no room for the images ({error.strerror}): free some, or name another TMPDIR")


class Rows:
    """Images of one shape, appended one by one, as many as come; above a limit they are memory-mapped."""

    def __init__(self, memory: int) -> None:
        """Keep up to `memory` bytes in memory."""
        self._memory = memory
        self._kept: list[npt.NDArray[np.uint8]] = []
        self._file: IO[bytes] | None = None
        self._ending = ExitStack()
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; what is mapped of it stays."""
        self._ending.close()

    def append(self, pixels: npt.NDArray[np.uint8], name: str) -> None:
        """Append an image, uint8 [height, width, channel]; errors call it by its name.

        Raises:
            DatasetError: if it has another shape than the first, or the disk is full.
        """
        if self._shape not in {None, pixels.shape}:
            raise DatasetError(f"{name} has shape {pixels.shape}, the first {self._shape}: give one shape")
        self._shape = pixels.shape
        self._count += 1
        self._kept.append(pixels.copy())  # the owner may fill the same array again
        if self._file is not None or self._count * pixels.nbytes > self._memory:
            self._spill()

    def _spill(self) -> None:
        try:
            self._file = self._file or self._ending.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
            self._file.writelines(pixels.data for pixels in self._kept)
        except OSError as error:
            raise _no_room(error) from error
        self._kept.clear()

    def finish(self) -> npt.NDArray[np.uint8]:
        """Return all of them, uint8 [image, height, width, channel]; there must be one."""
        if self._file is None:
            return np.stack(self._kept)
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._count, *(self._shape or ())))
