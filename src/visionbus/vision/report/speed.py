"""Measures how quickly a model classifies."""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.onnx import MAX_PART, OnnxModel

_SECONDS = 0.4  # that each of the two measurements takes, or two rounds, whichever is longer


@dataclass(frozen=True)
class Speed:
    """How quickly a model classifies, decoding not included.

    Attributes:
        alone: the median of the seconds that one image takes, given alone.
        rate: images/s in batches of `batch`, the median.
        batch: how many images were given at a time.
    """

    alone: float
    rate: float
    batch: int = MAX_PART


def measure_speed(model: OnnxModel, images: npt.NDArray[np.uint8]) -> Speed:
    """Measure on some of these images, uint8 [image, height, width, channel], at least one; it takes about a second."""
    batch = images[np.arange(MAX_PART) % len(images)]
    model.warm_up()
    return Speed(_median(model, batch[:1]), MAX_PART / _median(model, batch))


def _median(model: OnnxModel, batch: npt.NDArray[np.uint8]) -> float:
    """Return the median of the seconds that a batch takes."""
    spent: list[float] = []
    while len(spent) < 2 or sum(spent) < _SECONDS:
        began = time.perf_counter()
        model.logits(batch)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)
