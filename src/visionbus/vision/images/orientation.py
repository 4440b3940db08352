"""Finds out from the EXIF record how a picture must be rotated to be upright.

EXIF: CIPA DC-008, tag 274; the record is a TIFF directory. Pillow's own reader parses all of it and warns about
damaged records; here a single number is needed.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

from PIL import Image

_TAG = 274
_SHORT = 3
_TURNS: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


def turn(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that makes a decoded picture upright; None if none is needed, as for TIFF.

    A TIFF file is itself such a directory, and Pillow applies the orientation while decoding.
    """
    record = image.info.get("exif")
    return _TURNS.get(_read(record)) if isinstance(record, bytes) else None


def _read(record: bytes) -> int:
    """Return the orientation in an EXIF record, 1 to 8; 1 (upright as stored) if there is none."""
    record = record.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(record[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", record, 4)
        (entries,) = struct.unpack_from(order + "H", record, start)
        for entry in range(entries):
            tag, kind, _count, value = struct.unpack_from(order + "HHIH", record, start + 2 + 12 * entry)
            if tag == _TAG:
                return value if kind == _SHORT else 1
    except struct.error:  # the record is truncated
        return 1
    return 1
