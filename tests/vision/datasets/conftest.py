"""A Fashion-MNIST in small: the same four files, a few images in each."""

import gzip
import hashlib

import numpy as np
import pytest

from visionbus.vision.datasets import fashion


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of decoded images for each test."""
    folder = tmp_path_factory.mktemp("pixels")
    monkeypatch.setenv("VISIONBUS_PIXELS", str(folder))
    return folder


@pytest.fixture
def files():
    """Return the content of the four files, unpacked, by name."""
    generator = np.random.default_rng(0)
    return {
        f"{part}-{kind}": idx(generator.integers(0, 10 if "labels" in kind else 256, shape, dtype=np.uint8))
        for part, images in (("train", 30), ("t10k", 20))
        for kind, shape in (("images-idx3-ubyte", (images, 28, 28)), ("labels-idx1-ubyte", (images,)))
    }


@pytest.fixture
def put(files):
    """Write the four files into a folder, gzipped."""

    def write(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        return folder

    return write


@pytest.fixture
def small(files, tmp_path, monkeypatch):
    """Replace the expected files by the small ones, on a machine that has none of them."""
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(fashion, "SHA256", sha256)
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "usr")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISIONBUS_DATA", raising=False)
    return sha256
