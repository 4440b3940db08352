"""Turns a picture as its EXIF record says that it was taken.

EXIF: CIPA DC-008, tag 274; the record is a TIFF directory. Pillow's own reader warns on damaged records and reads all
of it; this one wants a single number.
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
    """Say what must be done to a decoded picture so that up is up; None where nothing must, as with TIFF.

    A TIFF file is such a directory itself, and Pillow turns it while decoding.
    """
    record = image.info.get("exif")
    return _TURNS.get(_read(record)) if isinstance(record, bytes) else None


def _read(record: bytes) -> int:
    """Read the orientation, 1 to 8, from an EXIF record; 1 (as it lies) where it has none."""
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
    except struct.error:  # the record is cut short
        return 1
    return 1
