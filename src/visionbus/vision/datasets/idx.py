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

import numpy as np
import numpy.typing as npt

from visionbus.vision.errors import DatasetError

_GZIP = b"\x1f\x8b"
_UINT8 = 8


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzipped (by its first bytes, whatever its name).

    Raises:
        DatasetError: if the file cannot be read or its compression is damaged.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
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
    if len(content) < 4 or content[:3] != bytes((0, 0, _UINT8)):
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
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
