"""Small data that can be learnt in seconds."""

import numpy as np
import pytest

from visionbus.vision import Dataset


def pytest_ignore_collect(config):
    """Do not so much as import torch, which takes seconds, when the slow tests are left out."""
    return True if config.option.markexpr == "not slow" else None


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Compute in one thread: small work is not faster in two, and far slower where other tests need the cores."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stripes():
    """Return a function that makes noisy images with level or upright stripes, whose class survives flipping."""

    def make(count, *, seed=0, side=12, channels=1):
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 2, count)
        phases = generator.integers(0, 4, (count, 1, 1))
        rows, columns = np.mgrid[:side, :side]
        waves = np.where(labels[:, None, None], rows[None], columns[None]) + phases
        images = (waves // 2 % 2 * 120 + generator.integers(0, 120, (count, side, side)))[..., None]
        return Dataset(images.repeat(channels, axis=3).astype(np.uint8), labels.astype(np.int64), ("upright", "level"))

    return make


@pytest.fixture
def silent():
    """Return an observer that hears of the progress of a fit, and says nothing."""
    return pytest.importorskip("visionbus.training.observer").Observer()
