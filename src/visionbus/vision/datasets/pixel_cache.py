"""Keeps decoded images on disk, by the content of their files: a run decodes only what no earlier run has decoded.

An entry is one file, written under a temporary name and renamed, so two runs at once and a crash leave complete entries
only. It holds the rows of pixels, a record per file, the reasons of what was broken, as JSON, and the sizes of these.
"""

import fcntl
import hashlib
import json
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import PIL

from visionbus.cache import cache_folder
from visionbus.vision.files import replacing
from visionbus.vision.images import Input

FOLDER_VARIABLE = "VISIONBUS_PIXELS"
_FORMAT = 1
_END = struct.Struct("<8sQQQ")
_MAGIC = b"visbpix1"
_STRIDE = 2**24  # bytes that the disk is told to begin with
_UNUSED_DAYS = 30
_NEWEST = 4  # entries that are looked into: the sets of one folder while its owner mends it
_YOUNG = 60.0  # seconds in which a temporary file may not be locked yet
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
    """Rows that earlier runs decoded, as an entry and the number of a record of it.

    Attributes:
        stats: by what the file system says of a file.
        contents: by SHA-256 of a file's content.
    """

    stats: dict[bytes, tuple[Entry, int]]
    contents: dict[bytes, tuple[Entry, int]]


def folder() -> Path:
    """Return where decoded images are kept: in the folder that VISIONBUS_PIXELS names, or in the cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else cache_folder("pixels")


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
    if time.time() - found.st_ctime < _SETTLED:
        return np.zeros(5, np.int64)
    values = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return np.array([value & (2**63 - 1) for value in values], np.int64)


def load_entries(place: Path, shape: tuple[int, int, int]) -> tuple[Entry, ...]:
    """Open the newest entries of a folder; what is damaged counts as missing."""
    paths = sorted(place.glob("*.pixels"), key=_age)[:_NEWEST] if place.is_dir() else []
    return tuple(entry for path in paths if (entry := _open(path, shape)))


def same_files(entries: Sequence[Entry], stats: npt.NDArray[np.int64]) -> Entry | None:
    """Return the entry of exactly these files, int64 [file, 5] as from `stat_of`, if none has changed since."""
    settled = stats.any(axis=1).all()
    return next((entry for entry in entries if settled and np.array_equal(entry.records["stat"], stats)), None)


def known_rows(entries: Sequence[Entry]) -> Known:
    """Index the rows of all entries."""
    known = Known({}, {})
    for entry in entries:
        for number in np.flatnonzero(entry.records["row"] >= 0).tolist():
            record = entry.records[number]
            known.contents[record["sha256"].tobytes()] = (entry, number)
            if record["stat"].any():
                known.stats[record["stat"].tobytes()] = (entry, number)
    return known


@contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes the entry `target` when the block succeeds; a lock tells other runs that it is in use.

    Raises:
        OSError: if it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ending, replacing(target) as temporary:
        lock = ending.enter_context(temporary.open("rb"))  # closed last: until the file has its name
        with suppress(OSError):  # not all file systems have locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        with temporary.open("w+b") as file:
            yield file


def mapped(file: BinaryIO, rows: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Map the rows of an entry, uint8 [row, height, width, channel]; they stay when the file is closed or removed."""
    return np.memmap(file, np.uint8, "r", shape=(rows, *shape)) if rows else np.empty((0, *shape), np.uint8)


def write_row(file: BinaryIO, row: int, pixels: npt.NDArray[np.uint8]) -> None:
    """Write one row, the rows before it having been written.

    The disk is told to begin after each few megabytes: to wait for all of them at the end took half as long again.
    """
    file.write(pixels.tobytes())
    end = (row + 1) * pixels.nbytes
    begun, due = (place // _STRIDE * _STRIDE for place in (end - pixels.nbytes, end))
    if due > begun and sys.platform == "linux":
        file.flush()
        os.posix_fadvise(file.fileno(), begun, due - begun, os.POSIX_FADV_DONTNEED)


def write_end(file: BinaryIO, rows: int, records: Records, reasons: dict[int, str]) -> None:
    """Write what comes after the rows."""
    text = json.dumps(reasons).encode()
    file.write(records.tobytes() + text + _END.pack(_MAGIC, rows, len(records), len(text)))


def touch(entry: Entry) -> None:
    """Note that an entry is used."""
    with suppress(OSError):
        os.utime(entry.path)


def remove_superseded(entries: Sequence[Entry], target: Path, shape: tuple[int, int, int]) -> None:
    """Remove entries that hold nothing which the entry `target` does not hold, too."""
    new = _open(target, shape)
    held = _contents(new) if new else set()
    for entry in entries:
        if entry.path != target and _contents(entry) <= held:
            with suppress(OSError):
                entry.path.unlink()


def remove_unused(cache: Path) -> None:
    """Remove entries that nobody has used for 30 days, and what killed runs left."""
    unused = [path for path in cache.glob("*/*.pixels") if _age(path) > _UNUSED_DAYS * 86400]
    for path in (*unused, *filter(_is_abandoned, cache.glob("*/.*.pixels.*"))):
        with suppress(OSError):
            path.unlink()


def _contents(entry: Entry) -> set[bytes]:
    """Return SHA-256 of each file that it has decoded."""
    return {content.tobytes() for content in entry.records["sha256"][entry.records["row"] >= 0]}


def _is_abandoned(path: Path) -> bool:
    """Return whether nobody writes this temporary file any more."""
    if _age(path) < _YOUNG:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
            return Entry(path, mapped(file, rows, shape), records, reasons)
    except (OSError, ValueError, struct.error):
        return None
