"""Reads NumPy's .npz files, without pickle and within limits."""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.arrays import texts
from visionbus.vision.datasets.listing import PART_NAMES, Part
from visionbus.vision.errors import DatasetError
from visionbus.vision.files import open_regular
from visionbus.vision.text import shortened

_MAX_BYTES = 2**33
_IMAGES = {"x", "images", "image", "imgs", "data", "pixels"}
_LABELS = {"y", "labels", "label", "targets", "target"}
_CLASSES = {"classes", "class_names", "names"}
Array = npt.NDArray[Any]


def read_npz(path: Path) -> tuple[dict[Part, tuple[Array, Array]], tuple[str, ...] | None, list[str]]:
    """Return images and labels by split, the names of the classes if the file has them, and notes.

    The arrays are told by their names: images (x, images, data) and labels (y, labels, targets), alone or with a split
    before or after, as in `x_train` or `test_labels`.

    Raises:
        DatasetError: if the file is damaged, holds Python objects, unpacks to more than 8 GiB, or has no such names.
    """
    arrays = _arrays(path)
    images: dict[Part, Array] = {}
    labels: dict[Part, Array] = {}
    classes, notes = None, []
    for name, array in arrays.items():
        part, kind = _meaning(name)
        if name.lower() in _CLASSES:
            classes = tuple(texts(array))
        elif kind is None:
            notes.append(f"the array {name!r} is not used")
        else:
            (images if kind == "images" else labels)[part] = array
    if not images or set(images) != set(labels):
        raise DatasetError(
            f"{path} has the arrays {', '.join(arrays)}: name them images and labels, or x_train, y_train, x_test, "
            "y_test"
        )
    return {part: (images[part], labels[part]) for part in images}, classes, notes


def _meaning(name: str) -> tuple[Part, str | None]:
    words = re.split(r"[_\-. ]+", name.lower())
    parts: list[Part] = [PART_NAMES[word] for word in words if word in PART_NAMES]
    part = parts[0] if parts else "train"
    rest = [word for word in words if word not in PART_NAMES]
    if len(rest) != 1:
        return part, None
    return part, "images" if rest[0] in _IMAGES else "labels" if rest[0] in _LABELS else None


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            size = sum(member.file_size for member in members)
            if size > _MAX_BYTES:
                raise DatasetError(f"{path} unpacks to {size} bytes, more than {_MAX_BYTES}: split it")
            return {member.filename.removesuffix(".npy"): _array(archive, member, path) for member in members}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} is not a usable .npz file ({error}): write it again with numpy.savez") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    """Read one array, after its header was compared with what the archive holds: no memory is taken for promises."""
    with archive.open(member) as file:
        try:
            shape, dtype = _header(file)
        except Exception as error:
            raise DatasetError(
                f"{path} has no usable header in {member.filename} ({shortened(str(error))}): write it again with "
                "numpy.savez"
            ) from error
        if dtype.hasobject:
            raise DatasetError(
                f"{path} has Python objects in {member.filename} (a pickle, which could run code): save it as an array "
                "of numbers or texts"
            )
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise DatasetError(f"{path} has another size of {member.filename} than its header says: write it again")
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(isinstance(side, bool) or side > _MAX_BYTES for side in shape):
        raise ValueError(f"shape {shape}")
    return shape, dtype
