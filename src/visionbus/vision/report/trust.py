"""Says what becomes of the answers if only sure ones are taken."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LEAST = (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Sure:
    """What becomes of the answers if only those from a probability on are taken.

    Attributes:
        least: the probability.
        share: the images that are answered, of all.
        right: those answered correctly, of them; None if there are none.
    """

    least: float
    share: float
    right: float | None


def sure_answers(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> list[Sure]:
    """Try some probabilities on probabilities, float32 [image, class], and labels, int64 [image]."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    return [
        Sure(least, float(taken.mean()), float(right[taken].mean()) if taken.any() else None)
        for least, taken in ((least, sure >= least) for least in _LEAST)
    ]
