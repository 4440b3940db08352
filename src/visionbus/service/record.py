"""What one process writes and another reads, also after the writer was killed: a text in shared memory."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import Self
from zlib import crc32

_HEADER = struct.Struct("<QII")  # times written, length, checksum
_TORN = 0xFFFFFFFF  # stands for the checksum while the text is being written


class Record:
    """One text, replaced as a whole; a file without a name, mapped into both processes.

    One process writes. A reader gets a whole text or none, never a mixture. Writing costs microseconds, and reaches the
    others without any flush: the pages are theirs too.
    """

    def __init__(self, descriptor: int, *, close: bool = False) -> None:
        self.descriptor = descriptor
        self._closes = close
        self._map = mmap.mmap(descriptor, 0)
        self._written = 0

    @classmethod
    def create(cls, capacity: int) -> Self:
        """Return a new one, for up to `capacity` bytes; a child process opens it by its inherited `descriptor`."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_HEADER.size + capacity)
            return cls(os.dup(file.fileno()), close=True)

    def write(self, text: bytes) -> None:
        """Replace the text; `ValueError` where it is too long."""
        if len(text) > len(self._map) - _HEADER.size:
            raise ValueError(f"{len(text)} bytes do not fit into a record of {len(self._map) - _HEADER.size}")
        self._written += 1
        _HEADER.pack_into(self._map, 0, self._written, 0, _TORN)
        self._map[_HEADER.size : _HEADER.size + len(text)] = text
        _HEADER.pack_into(self._map, 0, self._written, len(text), crc32(text))

    @property
    def written(self) -> int:
        """How often it was written: has it changed?"""
        times: int = _HEADER.unpack_from(self._map)[0]
        return times

    def read(self) -> bytes | None:
        """Return the text; None while it is being written, or where its writer died in the middle of it."""
        _, length, checksum = _HEADER.unpack_from(self._map)
        text = self._map[_HEADER.size : _HEADER.size + length]
        return text if crc32(text) == checksum else None

    def close(self) -> None:
        """Unmap it."""
        self._map.close()
        if self._closes:
            os.close(self.descriptor)
