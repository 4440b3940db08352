"""When the cache believes that a file is the one it knows, and what it removes."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import Input
from visionbus.vision.datasets import Decoding, pixel_cache
from visionbus.vision.datasets.decoding import decode

SPEC = Input(8, 8)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def paint(path, colour):
    """Write an image in place; files of all colours have the same size."""
    Image.new("RGB", (8, 8), colour).save(path, "BMP")


@pytest.fixture
def coarse(monkeypatch):
    """Give all files the same times, as if the file system's clock ticked seldom; return the list with its time."""
    real, clock = Path.stat, [time.time()]

    def stat(self, **options):
        found = real(self, **options)
        same = {f"st_{kind}time{unit}": clock[0] * scale for kind in "mc" for unit, scale in (("", 1), ("_ns", 1e9))}
        kept = {name: getattr(found, name) for name in ("st_mode", "st_dev", "st_ino", "st_size")}
        return SimpleNamespace(**kept, **{name: int(value) for name, value in same.items()})

    monkeypatch.setattr(pixel_cache.Path, "stat", stat)
    monkeypatch.setattr(pixel_cache, "load_entries", keeping(pixel_cache.load_entries, monkeypatch, real))
    return clock


def keeping(function, monkeypatch, real):
    """Let a function see the real times."""

    def call(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(pixel_cache.Path, "stat", real)
            return function(*arguments)

    return call


def second_run(path, clock):
    """Decode a file that was just written, change it within the same tick of the clock, and decode once more."""
    paint(path, RED)
    assert (decode([path], SPEC, Decoding()).images == RED).all()
    paint(path, BLUE)
    clock[0] = round(clock[0])
    return decode([path], SPEC, Decoding()).images[0, 0, 0].tolist()


def test_file_that_changed_within_two_seconds_of_being_cached_is_read_again(tmp_path, coarse, monkeypatch):
    coarse[0] = round(time.time())
    monkeypatch.setattr(pixel_cache.time, "time", lambda: coarse[0] + 1.9)
    assert second_run(tmp_path / "a.bmp", coarse) == list(BLUE)


def test_file_whose_clock_runs_ahead_is_read_again(tmp_path, coarse):
    coarse[0] = round(time.time() + 3600)
    assert second_run(tmp_path / "a.bmp", coarse) == list(BLUE)


def test_file_that_changed_long_ago_is_believed_to_be_the_same(tmp_path, coarse):
    coarse[0] = round(time.time() - 3600)
    assert second_run(tmp_path / "a.bmp", coarse) == list(RED)


def test_what_is_decoded_is_kept_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.delenv("VISIONBUS_PIXELS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert pixel_cache.folder() == Path("/somewhere/visionbus/pixels")
    monkeypatch.setenv("VISIONBUS_PIXELS", str(tmp_path / "kept"))
    paint(tmp_path / "a.bmp", RED)
    decode([tmp_path / "a.bmp"], SPEC, Decoding())
    assert len(list((tmp_path / "kept").glob("*/*.pixels"))) == 1


@pytest.fixture
def paths(tmp_path):
    for number in range(6):
        paint(tmp_path / f"{number}.bmp", (number, 0, 0))
    return sorted(tmp_path.glob("*.bmp"))


def test_entry_that_a_newer_one_contains_is_removed_and_others_stay(paths, cache):
    small, other = decode(paths[:4], SPEC, Decoding(memory=1)), decode(paths[4:], SPEC, Decoding())
    assert len(list(cache.glob("*/*.pixels"))) == 2
    decode(paths[:5], SPEC, Decoding())
    assert len(list(cache.glob("*/*.pixels"))) == 2
    decode(paths, SPEC, Decoding())
    assert len(list(cache.glob("*/*.pixels"))) == 1
    assert small.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]  # still mapped
    assert other.images[:, 0, 0, 0].tolist() == [4, 5]


def test_temporary_file_is_removed_when_nobody_holds_it_and_it_is_not_new(paths, cache):
    decode(paths[:1], SPEC, Decoding())
    place = next(cache.iterdir())
    for name, age in (("old", 100), ("new", 0)):
        (place / f".{name}.pixels.x").write_bytes(b"x")
        os.utime(place / f".{name}.pixels.x", (time.time() - age,) * 2)
    decode(paths, SPEC, Decoding())
    assert [path.name for path in place.glob(".*")] == [".new.pixels.x"]


def test_large_images_are_decoded_few_at_a_time(paths):
    spec, steps = Input(1024, 1024), []
    found = decode(paths, spec, Decoding(progress=lambda done, _: steps.append(done)))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(found.images[:, 0, 0, 0], range(6))
