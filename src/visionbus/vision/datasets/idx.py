"""Reads IDX files, the format of MNIST and its relatives, gzipped or not.

The format: two zero bytes, one byte for the type of the values (8: uint8), one for the number of dimensions, each
dimension as a big-endian 32-bit integer, then the values in C order.
Source: https://yann.lecun.com/exdb/mnist/ ("The IDX file format").
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from visionbus.vision.errors import DatasetError
from visionbus.vision.files import open_regular

_GZIP = b"\x1f\x8b"
_MAGIC = bytes((0, 0, 8))  # 8: uint8
_MAX_BYTES = 2**30  # of one file; Fashion-MNIST has 47 million, the largest relative 640 million
_CHUNK = 2**20


def read_bytes(path: Path) -> bytes:
    """Return the content of an IDX file, unpacked if it is gzipped (by its first bytes, whatever its name).

    At most one byte more than the header promises is read, so a small file that unpacks to much does no harm: `parse`
    refuses it. Of what is no IDX file, only the first bytes are returned.

    Raises:
        DatasetError: if the file cannot be read, is too large, or its compression is damaged.
    """
    try:
        with open_regular(path) as file:
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            if not packed:
                return _read(file, path)
            with gzip.open(file) as unpacked:
                return _read(unpacked, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"cannot read {path} ({error}): fetch the file again") from error


def parse(content: bytes, source: str) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file of bytes.

    Args:
        content: the unpacked content of the file.
        source: what to call the file in errors.

    Returns:
        uint8, of the shape that the file says; read-only.

    Raises:
        DatasetError: if it is not an IDX file of bytes, or is longer or shorter than its header says.
    """
    if len(content) < 4 or content[:3] != _MAGIC:
        first = content[:4].hex(" ") or "nothing"
        raise DatasetError(f"{source} is not an IDX file of bytes (it begins with {first}): name another file")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DatasetError(f"{source} ends within its header: fetch the file again")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DatasetError(
            f"{source} has {len(content) - start} bytes of values, but its header says {math.prod(shape)} {shape}: "
            "fetch the file again"
        )
    try:
        return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
    except ValueError as error:
        raise DatasetError(f"{source} has an impossible header ({error}): fetch the file again") from error


def _read(file: BinaryIO | gzip.GzipFile, path: Path) -> bytes:
    """Return the header and what it promises, and one byte more if there is one."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != _MAGIC:
        return start
    start += file.read(4 * start[3])
    if len(start) < 4 + 4 * start[3]:
        return start
    promised = math.prod(struct.unpack(f">{start[3]}I", start[4:]))
    if promised > _MAX_BYTES:
        raise DatasetError(f"{path} says that it has {promised} bytes, more than {_MAX_BYTES}: split the file")
    return start + _chunks(file, promised + 1)


def _chunks(file: BinaryIO | gzip.GzipFile, most: int) -> bytes:
    """Return the next `most` bytes, or all there are; memory is taken for these only."""
    content = bytearray()
    while len(content) < most and (chunk := file.read(min(_CHUNK, most - len(content)))):
        content += chunk
    return bytes(content)
