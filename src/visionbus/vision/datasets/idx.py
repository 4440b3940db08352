"""Reads IDX files, the format of MNIST and its kin, gzipped or not.

The format: two zero bytes, one for the type of the numbers (8: uint8), one for the count of dimensions, each dimension
as a big-endian 32-bit number, then the numbers, the last dimension fastest.
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
    """Read a file, unpacked where it is gzipped (by its first bytes, whatever its name).

    Raises:
        DatasetError: when the file cannot be read or its compression is damaged.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"cannot read {path} ({error}): fetch the file again") from error


def parse(content: bytes, source: str) -> npt.NDArray[np.uint8]:
    """Turn the unpacked bytes of an IDX file into the array of bytes that it holds; `source` names it in errors.

    Raises:
        DatasetError: when it is no IDX file of bytes, or is longer or shorter than its header says.
    """
    if len(content) < 4 or content[:3] != bytes((0, 0, _UINT8)):
        raise DatasetError(f"{source} is no IDX file of bytes: its first bytes are {content[:4].hex(' ') or 'missing'}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DatasetError(f"{source} ends within its header: fetch the file again")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DatasetError(
            f"{source} holds {len(content) - start} bytes where its header promises {math.prod(shape)} {shape}: "
            "fetch the file again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
