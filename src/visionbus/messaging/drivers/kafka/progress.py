"""What is acked beyond a committed offset, as text that fits into the metadata of a commit.

The text is `vb1:` and the base64 of run lengths as LEB128 varints: so many offsets not acked, so many acked, and so on,
from the committed offset on. Confluent's parallel-consumer keeps the same knowledge in the same place.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX = "vb1:"
MAX_OFFSET = 2**63 - 1
MAX_METADATA = 4000  # characters; a stock broker takes 4,096 bytes, its own part aside


def encode(base: int, acked: Sequence[tuple[int, int]], limit: int = MAX_METADATA) -> tuple[str, int]:
    """Return the text for disjoint, ascending half-open ranges at or beyond `base`, and how many of them it holds.

    Ranges that do not fit into `limit` characters are left out, the furthest ones first; without ranges it is "".
    """
    room = (limit - len(PREFIX)) // 4 * 3
    packed = bytearray()
    kept = 0
    for start, end in acked:
        run = _varint(start - base) + _varint(end - start)
        if len(packed) + len(run) > room:
            break
        packed += run
        base = end
        kept += 1
    return (PREFIX + base64.b64encode(packed).decode() if kept else "", kept)


def decode(base: int, text: str | None) -> list[tuple[int, int]]:
    """Return the ranges that `encode` wrote; none for what others wrote, also where it looks similar."""
    if not text or not text.startswith(PREFIX):
        return []
    try:
        packed = base64.b64decode(text[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        return []
    ranges = []
    lengths = _varints(packed)
    for gap, run in zip(lengths[::2], lengths[1::2], strict=False):
        start = base + gap
        base = start + run
        if not (gap and run and base <= MAX_OFFSET):
            return []
        ranges.append((start, base))
    return ranges


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(packed: Iterable[int]) -> list[int]:
    numbers = []
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(number)
            number = shift = 0
    return numbers
