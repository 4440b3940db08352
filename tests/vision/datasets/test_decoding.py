"""Decoding in parallel, and the cache of what was decoded."""

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import DatasetError, Input, load
from visionbus.vision.datasets import decoding, pixel_cache
from visionbus.vision.datasets.decoding import Decoding, decode

SPEC = Input(8, 8)


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "05.png").write_bytes(b"")
    return sorted(tmp_path.glob("*.png"))


@pytest.fixture
def loads(monkeypatch):
    """Count what is really decoded."""
    counted = []

    def counting(data, spec):
        pixels = load(data, spec)
        counted.append(1)
        return pixels

    monkeypatch.setattr(decoding, "load", counting)
    return counted


def expected(paths):
    return np.stack([load(path.read_bytes(), SPEC) for path in paths if path.name != "05.png"])


@pytest.mark.parametrize("memory", [2**30, 1])
@pytest.mark.parametrize("threads", [1, 4])
def test_files_are_decoded_in_their_order(paths, memory, threads):
    steps = []
    found = decode(paths, SPEC, Decoding(memory=memory, threads=threads, progress=lambda *step: steps.append(step)))
    assert (found.images == expected(paths)).all()
    assert found.broken == {5: "the file is empty: use an image file"}
    assert isinstance(found.images, np.memmap) == (memory == 1)
    assert steps[-1] == (30, 30)


def test_two_threads_decode_at_once(paths, monkeypatch):
    both = threading.Barrier(2, timeout=30)

    def meeting(data, spec):
        both.wait()
        return load(data, spec)

    monkeypatch.setattr(decoding, "_TASK", 1)
    monkeypatch.setattr(decoding, "load", meeting)
    assert len(decode(paths[:2], SPEC, Decoding(threads=2)).images) == 2


def test_threads_read_four_tasks_each_ahead_and_no_more(paths, monkeypatch):
    begun, read = threading.Semaphore(0), decoding.read_limited

    def counting(path, limit):
        begun.release()
        return read(path, limit)

    monkeypatch.setattr(decoding, "_TASK", 1)
    monkeypatch.setattr(decoding, "read_limited", counting)
    unknown = np.zeros((len(paths), 5), np.int64)
    found = decoding._results(paths, unknown, SPEC, pixel_cache.known_rows([]), Decoding(threads=2))
    next(found)
    assert all(begun.acquire(timeout=30) for _ in range(1 + 4 * 2))
    assert not begun.acquire(timeout=0.2)  # too short a wait can only miss a fault
    found.close()


@pytest.mark.parametrize("memory", [2**30, 1])
def test_second_run_decodes_nothing(paths, loads, memory, monkeypatch):
    monkeypatch.setattr(pixel_cache, "_SETTLED", -1)
    first = decode(paths, SPEC, Decoding(memory=memory))
    assert len(loads) == 29
    second = decode(paths, SPEC, Decoding(memory=memory))
    assert len(loads) == 29
    assert (first.images == second.images).all()
    assert (first.digests == second.digests).all()
    assert first.broken == second.broken


def test_copies_elsewhere_are_known_by_their_content(paths, loads, tmp_path):
    decode(paths, SPEC, Decoding())
    shutil.copytree(tmp_path, tmp_path / "copy")
    again = decode(sorted((tmp_path / "copy").glob("*.png"), reverse=True), SPEC, Decoding())
    assert len(loads) == 29
    assert (again.images[::-1] == expected(paths)).all()


@pytest.mark.parametrize("settled", [-1, 2.0])
def test_only_what_changed_is_decoded_again(paths, loads, monkeypatch, settled):
    monkeypatch.setattr(pixel_cache, "_SETTLED", settled)
    decode(paths, SPEC, Decoding())
    times = paths[3].stat()
    paths[3].write_bytes(paths[4].read_bytes()[:-20] + b"x" + paths[4].read_bytes()[-19:])
    Image.new("RGB", (9, 9), "red").save(paths[3])
    os.utime(paths[3], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (decode(paths, SPEC, Decoding()).images[3] == (255, 0, 0)).all()
    assert len(loads) == 30


def test_another_input_is_decoded_anew(paths, loads):
    decode(paths, SPEC, Decoding())
    assert decode(paths, Input(8, 8, "L"), Decoding()).images.shape == (29, 8, 8, 1)
    assert len(loads) == 58


@pytest.mark.parametrize("damage", [b"", b"junk" * 100, None])
def test_damaged_entry_counts_as_missing(paths, loads, cache, damage):
    decode(paths, SPEC, Decoding())
    (entry,) = cache.glob("*/*.pixels")
    entry.write_bytes(entry.read_bytes()[:-1] if damage is None else damage)
    assert (decode(paths, SPEC, Decoding()).images == expected(paths)).all()
    assert len(loads) == 58


FULL = """
import resource, sys
from pathlib import Path
from visionbus.vision import Input
from visionbus.vision.datasets.decoding import Decoding, decode
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
found = decode(sorted(Path(sys.argv[1]).glob("*.png")), Input(8, 8), Decoding(memory=int(sys.argv[2])))
print(len(found.images), found.note)
"""


def full(paths, memory):
    """Decode where no file may have more than 2,000 bytes, as if the disk were full."""
    command = [sys.executable, "-c", FULL, paths[0].parent, str(memory)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cache_that_cannot_be_written_is_said_and_leaves_nothing(paths, cache):
    done = full(paths, 2**30)
    assert done.stdout.startswith("29 the decoded images could not be kept in"), done.stderr
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_full_disk_is_an_error_for_what_does_not_fit_into_memory_and_leaves_nothing(paths, cache):
    done = full(paths, 1)
    assert "DatasetError: the decoded images take 5760 bytes" in done.stderr
    assert "free some space" in done.stderr
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_too_little_room_is_found_out_before_decoding(paths, loads, monkeypatch):
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 100}))
    with pytest.raises(DatasetError, match="100 are free"):
        decode(paths, SPEC, Decoding(memory=1))
    assert loads == []


def test_two_runs_at_once_both_succeed(paths, cache):
    code = FULL.replace("resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))", "")
    command = [sys.executable, "-c", code, paths[0].parent, "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].split()[0] for process in both] == ["29", "29"]
    assert all(path.name.endswith(".pixels") for path in cache.rglob("*") if path.is_file())


def test_what_nobody_used_for_long_is_removed(paths, cache):
    decode(paths, SPEC, Decoding())
    (old,) = cache.glob("*/*.pixels")
    os.utime(old, (0, 0))
    decode(paths[:3], SPEC, Decoding())
    assert not old.exists()


def test_file_that_could_not_be_read_is_tried_again_the_next_time(paths, monkeypatch):
    monkeypatch.setattr(pixel_cache, "_SETTLED", -1)
    read = decoding.read_limited

    def failing(path, limit):
        if path.name == "07.png":
            raise OSError(5, "Input/output error", str(path))
        return read(path, limit)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_limited", failing)
        assert decode(paths, SPEC, Decoding()).broken[7] == "Input/output error"
    found = decode(paths, SPEC, Decoding())
    assert list(found.broken) == [5]
    assert (found.images == expected(paths)).all()


def test_decoded_images_on_disk_lie_in_a_file_that_others_can_map(paths):
    found = decode(paths, SPEC, Decoding(memory=1))
    assert (np.memmap(found.images.filename, np.uint8, "r", shape=found.images.shape) == found.images).all()


@pytest.mark.parametrize("memory", [2**30, 1])
def test_error_of_the_progress_is_no_error_of_the_cache(paths, memory):
    def broken(done, total):
        raise BrokenPipeError(32, "the terminal is gone")

    with pytest.raises((OSError, DatasetError), match="the terminal is gone"):
        decode(paths, SPEC, Decoding(memory=memory, progress=broken))
