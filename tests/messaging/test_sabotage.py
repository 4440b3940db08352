"""A check that cannot fail is a defect: each of these drivers breaks a promise, and its conformance test fails."""

import itertools
import sys
from pathlib import Path

import pytest

from visionbus.messaging.conformance import CLAIMS, PROMISES, promises, trial

sys.path.append(str(Path(__file__).parent))  # entry points name modules
from broken_drivers import DRIVERS


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Install the broken drivers as another distribution would be."""
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = [f"{name} = broken_drivers:{name.replace('-', '_')}" for name in DRIVERS]
    (metadata / "entry_points.txt").write_text("\n".join(["[visionbus.messaging.drivers]", *points]))
    monkeypatch.syspath_prepend(tmp_path)


CASES = [
    pytest.param(name, test, marks=[pytest.mark.slow] if CLAIMS[test].slow or "hangs" in name else [], id=name)
    for name, (_, test) in DRIVERS.items()
]


@pytest.mark.parametrize(("name", "test"), CASES)
def test_broken_promise_is_noticed(broken, monkeypatch, name, test):
    monkeypatch.setattr(promises, "Trial", lambda url, seed, _: trial.Trial(url, seed, 0.3))
    monkeypatch.setattr(trial, "DEADLINES", 3)
    with pytest.raises((AssertionError, ExceptionGroup, pytest.fail.Exception, KeyError)):
        CLAIMS[test].run(f"{name}://")


def test_every_promise_is_broken_by_one_of_them():
    broken = set(itertools.chain.from_iterable(CLAIMS[test].promises for _, test in DRIVERS.values()))
    assert broken == set(PROMISES)
