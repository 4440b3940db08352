"""Decodes image files in parallel into one array, in memory or memory-mapped."""

import hashlib
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets import pixel_cache
from visionbus.vision.datasets.leaks import Digests, digest
from visionbus.vision.datasets.pixel_cache import RECORD, Known, Records
from visionbus.vision.errors import DatasetError, ImageError
from visionbus.vision.files import read_limited
from visionbus.vision.images import Input, load
from visionbus.vision.images.formats import LIMITS

_TASK = 8  # files in one task of a thread, if they are small
_TASK_BYTES = 2**20  # of pixels in one task, if it has more than one file

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoding:
    """How files are decoded, and where the result is kept.

    Attributes:
        cache: the folder of the cache; by default the one that the environment variable VISIONBUS_PIXELS names, or
            `pixels` in the cache of visionbus.
        memory: arrays above this many bytes are memory-mapped from the cache; smaller ones are in memory.
        threads: how many files are decoded at once; by default one per core.
        progress: called with how many files are done, and how many there are.
    """

    cache: Path | None = None
    memory: int = 2 * 2**30
    threads: int | None = None
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of some files.

    Attributes:
        images: uint8 [intact file, height, width, channel], in the order of the files; may be read-only.
        digests: uint8 [intact file, 16], equal for equal pixels.
        intact: the places of the intact files, int64 [intact file].
        broken: why a file was broken, by its place.
        note: what went wrong with the cache, or nothing.
    """

    images: Pixels
    digests: Digests
    intact: npt.NDArray[np.int64]
    broken: dict[int, str]
    note: str = ""


def decode(paths: Sequence[Path], spec: Input, decoding: Decoding) -> Decoded:
    """Decode files to `spec`, but for those whose content an earlier run decoded.

    Raises:
        DatasetError: if the array is larger than `decoding.memory` and the cache cannot be written.
    """
    cache = decoding.cache or pixel_cache.folder()
    place = pixel_cache.place_for(cache, spec)
    entries = pixel_cache.load_entries(place, spec.shape)
    stats = np.stack([pixel_cache.stat_of(path) for path in paths]) if paths else np.zeros((0, 5), np.int64)
    if entry := pixel_cache.same_files(entries, stats):
        pixel_cache.touch(entry)
        small = entry.rows.nbytes <= decoding.memory
        return _decoded(np.array(entry.rows) if small else entry.rows, entry.records, entry.reasons)
    pixel_cache.remove_unused(cache)
    found = _results(paths, stats, spec, pixel_cache.known_rows(entries), decoding)
    store = _to_disk if len(paths) * math.prod(spec.shape) > decoding.memory else _to_memory
    name = hashlib.sha256("\0".join(map(str, paths)).encode("utf-8", "surrogateescape") + stats.tobytes())
    target = place / f"{name.hexdigest()[:32]}.pixels"
    decoded = store(found, len(paths), spec, target)
    if not decoded.note:
        pixel_cache.remove_superseded(entries, target, spec.shape)
    return decoded


@dataclass(frozen=True, eq=False)
class _Result:
    """One file: its pixels, or the reason why there are none."""

    record: Records
    pixels: Pixels | None = None
    reason: str = ""


def _results(
    paths: Sequence[Path], stats: npt.NDArray[np.int64], spec: Input, known: Known, decoding: Decoding
) -> Iterator[_Result]:
    """Yield what becomes of each file, in order; threads work ahead, but not far."""
    size = min(max(_TASK_BYTES // math.prod(spec.shape), 1), _TASK)
    work = iter([slice(start, start + size) for start in range(0, len(paths), size)])
    threads = decoding.threads or _cores()
    done = 0

    def task(part: slice) -> list[_Result]:
        return [_result(path, stat, spec, known) for path, stat in zip(paths[part], stats[part], strict=True)]

    with ThreadPoolExecutor(threads) as pool, ExitStack() as ending:
        ending.callback(pool.shutdown, cancel_futures=True)  # Ctrl-C does not wait for all of them
        waiting: list[Future[list[_Result]]] = [pool.submit(task, part) for part in itertools.islice(work, 4 * threads)]
        while waiting:
            results = waiting.pop(0).result()
            waiting += [pool.submit(task, part) for part in itertools.islice(work, 1)]
            yield from results
            done += len(results)
            if decoding.progress:
                decoding.progress(done, len(paths))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _result(path: Path, stat: npt.NDArray[np.int64], spec: Input, known: Known) -> _Result:
    record = np.zeros((), RECORD)
    record["stat"] = stat
    record["row"] = -1
    hit = known.stats.get(stat.tobytes()) if stat.any() else None
    try:
        if hit is None:
            data = read_limited(path, LIMITS.size)
            content = hashlib.sha256(data).digest()
            record["sha256"] = np.frombuffer(content, np.uint8)
            hit = known.contents.get(content)
        if hit is None:
            pixels = load(data, spec)
            record["digest"] = digest(pixels)
            return _Result(record, pixels)
    except ImageError as error:
        return _Result(record, reason=str(error))
    except OSError as error:
        record["stat"] = 0  # it may be readable the next time
        return _Result(record, reason=str(error.strerror))
    entry, number = hit
    earlier = entry.records[number]
    record["sha256"], record["digest"] = earlier["sha256"], earlier["digest"]
    return _Result(record, entry.rows[earlier["row"]])


class _Collected:
    """What has become of the files so far."""

    def __init__(self, count: int) -> None:
        """Expect `count` files."""
        self.records = np.zeros(count, RECORD)
        self.reasons: dict[int, str] = {}
        self.files = self.rows = 0

    def take(self, results: Iterator[_Result], keep: Callable[[int, Pixels], object]) -> None:
        """Go on with the results that are left, and hand each file's pixels to `keep` with its row."""
        for place, result in enumerate(results, start=self.files):
            self.files += 1
            self.records[place] = result.record
            if result.pixels is None:
                self.reasons[place] = result.reason
            else:
                self.records[place]["row"] = row = self.rows
                self.rows += 1
                keep(row, result.pixels)

    def write_end(self, file: BinaryIO) -> None:
        pixel_cache.write_end(file, self.rows, self.records, self.reasons)

    def decoded(self, images: Pixels, note: str = "") -> Decoded:
        return _decoded(images, self.records, self.reasons, note)


def _to_memory(results: Iterator[_Result], count: int, spec: Input, target: Path) -> Decoded:
    """Decode into memory, and write the cache meanwhile; what fails there does not disturb."""
    images = np.empty((count, *spec.shape), np.uint8)
    collected, note = _Collected(count), ""
    try:
        with pixel_cache.writing(target) as file:

            def keep(row: int, pixels: Pixels) -> None:
                images[row] = pixels
                pixel_cache.write_row(file, row, pixels)

            collected.take(results, keep)
            collected.write_end(file)
    except OSError as error:
        collected.take(results, images.__setitem__)
        if collected.files < count:  # it was not the cache that failed
            raise
        note = f"the decoded images could not be kept in {target.parent} ({error.strerror}): the next run decodes again"
    return collected.decoded(images[: collected.rows], note)


def _to_disk(results: Iterator[_Result], count: int, spec: Input, target: Path) -> Decoded:
    needed, collected = count * math.prod(spec.shape), _Collected(count)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(target.parent).free) < needed:
            raise _no_room(target, needed, f"{free} are free")
        with pixel_cache.writing(target) as file:
            collected.take(results, partial(pixel_cache.write_row, file))
            collected.write_end(file)
            file.flush()
            images = pixel_cache.mapped(file, collected.rows, spec.shape)
        if collected.rows:
            images.filename = target  # type: ignore[attr-defined]  # the name that others can map it by
    except OSError as error:
        raise _no_room(target, needed, str(error.strerror)) from error
    finally:
        results.close()  # type: ignore[attr-defined]  # a generator
    return collected.decoded(images)


def _no_room(target: Path, needed: int, reason: str) -> DatasetError:
    return DatasetError(
        f"the decoded images take {needed} bytes in {target.parent} ({reason}): free some space, or name another "
        f"folder in {pixel_cache.FOLDER_VARIABLE}"
    )


def _decoded(images: Pixels, records: Records, reasons: dict[int, str], note: str = "") -> Decoded:
    intact = np.flatnonzero(records["row"] >= 0)
    return Decoded(images, records["digest"][intact], intact, reasons, note)
