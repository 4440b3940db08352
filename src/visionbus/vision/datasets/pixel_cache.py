"""Keeps decoded images on disk, by the content of their files: a run decodes only what no earlier run has decoded.

An entry is one file, written under a temporary name and renamed, so two runs at once and a crash leave complete entries
only. It holds the rows of pixels, a record per file, the reasons of what was broken, as JSON, and the sizes of these.
"""

import contextlib
import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL

from visionbus.vision.images import Input

_FORMAT = 1
_END = struct.Struct("<8sQQQ")
_MAGIC = b"visbpix1"
_UNUSED_DAYS = 30
_NEWEST = 4  # entries that are looked into: the sets of one folder while its owner mends it
_SETTLED = 2.0  # seconds after a change until a file's times tell of the next one

#: One file: what the file system says of it, SHA-256 of its content, the digest of its pixels, its row or -1.
RECORD = np.dtype([("stat", "<i8", 5), ("sha256", "u1", 32), ("digest", "u1", 16), ("row", "<i8")])
Records = npt.NDArray[np.void]


@dataclass(frozen=True, eq=False)
class Entry:
    """Decoded images of one set of files.

    Attributes:
        path: the file.
        rows: uint8 [row, height, width, channel], memory-mapped, read-only.
        records: `RECORD` [file].
        reasons: why a file was broken, by its place among the files.
    """

    path: Path
    rows: npt.NDArray[np.uint8]
    records: Records
    reasons: dict[int, str]


@dataclass(frozen=True, eq=False)
class Known:
    """Rows that earlier runs decoded, found by what the file system says of a file, and by its content."""

    entries: tuple[Entry, ...]
    stats: dict[bytes, tuple[Entry, int]] = field(default_factory=dict)
    contents: dict[bytes, tuple[Entry, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the entries."""
        for entry in self.entries:
            for number in np.flatnonzero(entry.records["row"] >= 0).tolist():
                record = entry.records[number]
                self.contents[record["sha256"].tobytes()] = (entry, number)
                if record["stat"].any():
                    self.stats[record["stat"].tobytes()] = (entry, number)

    def same_files(self, stats: npt.NDArray[np.int64]) -> Entry | None:
        """Return the entry of exactly these files, int64 [file, 5] as from `stat_of`, if none has changed since."""
        settled = stats.any(axis=1).all()
        return next((entry for entry in self.entries if settled and np.array_equal(entry.records["stat"], stats)), None)


def place_for(cache: Path, spec: Input) -> Path:
    """Return the folder of the entries for one `spec`; what another Pillow decoded is not taken."""
    key = json.dumps([_FORMAT, PIL.__version__, spec.to_json()])
    return cache / hashlib.sha256(key.encode()).hexdigest()[:16]


def stat_of(path: Path) -> npt.NDArray[np.int64]:
    """Return device, inode, size and times of a file, int64 [5]; zeros if it changed just now, or cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return np.zeros(5, np.int64)
    if abs(time.time() - found.st_ctime) < _SETTLED:
        return np.zeros(5, np.int64)
    values = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return np.array([value & (2**63 - 1) for value in values], np.int64)


def load_known(place: Path, shape: tuple[int, int, int]) -> Known:
    """Open the newest entries of a folder; what is damaged counts as missing."""
    paths = sorted(place.glob("*.pixels"), key=_age)[:_NEWEST] if place.is_dir() else []
    return Known(tuple(entry for path in paths if (entry := _open(path, shape))))


def write_end(file: Any, rows: int, records: Records, reasons: dict[int, str]) -> None:  # noqa: ANN401 (a binary file)
    """Write what comes after the rows."""
    text = json.dumps(reasons).encode()
    file.write(records.tobytes() + text + _END.pack(_MAGIC, rows, len(records), len(text)))


def touch(entry: Entry) -> None:
    """Note that an entry is used."""
    with contextlib.suppress(OSError):
        os.utime(entry.path)


def remove_unused(cache: Path) -> None:
    """Remove entries, and what crashed runs left, that nobody has used for 30 days."""
    for path in _everything(cache):
        with contextlib.suppress(OSError):
            if _age(path) > _UNUSED_DAYS * 86400:
                path.unlink()


def _everything(cache: Path) -> Iterator[Path]:
    yield from cache.glob("*/*.pixels*")
    yield from cache.glob("*/.*.pixels*")


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _open(path: Path, shape: tuple[int, int, int]) -> Entry | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _END.size, 0))
            magic, rows, files, text = _END.unpack(file.read())
            pixels = rows * int(np.prod(shape))
            if magic != _MAGIC or size != pixels + files * RECORD.itemsize + text + _END.size:
                return None
            file.seek(pixels)
            records = np.frombuffer(file.read(files * RECORD.itemsize), RECORD)
            reasons = {int(place): str(reason) for place, reason in json.loads(file.read(text)).items()}
            mapped: npt.NDArray[np.uint8] = np.empty((0, *shape), np.uint8)
            if rows:
                mapped = np.memmap(file, np.uint8, "r", shape=(rows, *shape))
    except (OSError, ValueError, struct.error):
        return None
    return Entry(path, mapped, records, reasons)
