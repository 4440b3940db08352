"""What the benchmarks of the service share: a null model, tables, medians, a bus of its own for each run."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def images(count: int, seed: int = 0) -> np.ndarray:
    """Give uint8 [count, 28, 28, 1] of noise: what it shows is nothing to the time it takes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8)


def shipped() -> OnnxModel:
    return OnnxModel(default_model())


class NullModel:
    """Takes no time: its logits were made before."""

    def __init__(self) -> None:
        model = shipped()
        self.name, self.version, self.classes, self.input = model.name, model.version, model.classes, model.input
        self._logits = model.logits(images(1024))

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return self._logits[: len(batch)]


@contextmanager
def folder() -> Iterator[str]:
    """Give a folder for one run; what a run leaves there is gone after it."""
    with tempfile.TemporaryDirectory(prefix="visionbus-benchmark-") as name:
        yield name


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Give the median, and the least and the most."""
    middle = statistics.median(values)
    return f"{middle:,.{digits}f}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def print_header(title: str, runs: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{title}; medians of {runs} (least to most); {cores} cores, Python {platform.python_version()}")


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
