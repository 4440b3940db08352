"""Arrays through `open_data`: what is converted, and what is not copied."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from visionbus.vision import Input
from visionbus.vision.datasets import Decoding, Holdout, open_data

LABELS = np.arange(20) % 2
NONE = Holdout(0)
ON_DISK = Decoding(memory=1)


def pixels(count=20, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, 5, 6, channels), dtype=np.uint8)


def colour_and_alpha():
    """Return RGBA with opaque, transparent and half transparent images, and what it is over white."""
    given = pixels(channels=4)
    given[..., 3] = np.array([255, 0, 128] * 7, np.uint8)[:20, None, None]
    share = given[..., 3:] / 255
    return given, given[..., :3] * share + 255 * (1 - share)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: array / 255,
        lambda array: array.astype(np.uint16) * 257,
        lambda array: np.moveaxis(array, 3, 1),
    ],
)
def test_alpha_of_arrays_is_laid_over_white_and_said(change):
    given, expected = colour_and_alpha()
    data = open_data((change(given), LABELS), holdout=NONE)
    assert data.input == Input(5, 6, "RGB")
    assert abs(data.train.images - expected).max() <= 0.51
    assert "arrays (train images): alpha is laid over white" in data.notes


def test_stream_of_arrays_with_alpha_is_laid_over_white():
    given, expected = colour_and_alpha()
    data = open_data(list(zip(given, LABELS.tolist(), strict=True)), holdout=NONE)
    assert abs(data.train.images - expected).max() <= 0.51


def test_array_of_bytes_that_keeps_its_order_is_not_copied():
    given = pixels()
    data = open_data((given, LABELS), holdout=NONE)
    assert np.shares_memory(data.train.images, given)


def test_splits_of_an_npz_are_not_joined_to_be_checked(tmp_path):
    np.savez(
        tmp_path / "a.npz", x_train=pixels(), y_train=LABELS, x_val=255 - pixels(), y_val=LABELS, x_test=pixels() // 2,
        y_test=LABELS,
    )  # fmt: skip
    data = open_data(tmp_path / "a.npz")
    assert (data.trainval.images == np.concatenate([pixels(), 255 - pixels()])).all()
    assert not np.shares_memory(data.train.images, data.test.images)
    assert not data.held_out


def test_training_and_validation_are_views_of_both_together():
    data = open_data((pixels(), LABELS))
    for part in (data.train, data.validation):
        assert np.shares_memory(part.images, data.trainval.images)


@pytest.mark.parametrize("holdout", [NONE, Holdout(0.2)])
def test_memory_mapped_array_stays_mapped(tmp_path, holdout):
    np.save(tmp_path / "a.npy", pixels())
    given = np.load(tmp_path / "a.npy", mmap_mode="r")
    data = open_data((given, LABELS), holdout=holdout, decoding=ON_DISK)
    assert isinstance(data.train.images, np.memmap)
    order = [int(name.split()[1]) for name in data.train.names]
    assert (data.train.images == pixels()[order]).all()


def test_images_that_leak_are_left_out_of_a_mapped_split_without_taking_it_into_memory(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=pixels(), y_train=LABELS, x_test=255 - pixels(), y_test=LABELS)
    arrays = dict(np.load(tmp_path / "a.npz"))
    arrays["x_test"][3] = arrays["x_train"][3]
    np.savez(tmp_path / "a.npz", **arrays)
    data = open_data(tmp_path / "a.npz", decoding=ON_DISK)
    assert len(data.test) == 19
    assert isinstance(data.test.images, np.memmap)
    assert [place.name for place in data.leaks[0].places] == ["image 3", "image 3"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_large_array_is_converted_and_reordered_in_less_memory_than_it_has(tmp_path, kind):
    size = (512, 256, 256, 1)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, size, dtype=kind))
    given = np.load(tmp_path / "a.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        data = open_data((given, np.arange(512) % 2), decoding=ON_DISK)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data.trainval) == 512
    assert peak < given.nbytes / 2


FULL = """
import numpy as np, resource
from visionbus.vision.datasets import Decoding, open_data
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
open_data((np.zeros((20, 5, 6), np.uint8), np.arange(20) % 2), decoding=Decoding(memory=1))
"""


@pytest.mark.slow
def test_no_room_for_a_large_array_is_an_error_with_the_cure():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False)
    assert "DatasetError: no room for the images (File too large): free some, or name another TMPDIR" in done.stderr
