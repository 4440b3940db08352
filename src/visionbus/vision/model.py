"""Defines what a model is, and turns its logits into predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from visionbus.vision.images import Input


class Model(Protocol):
    """Anything that computes logits for a batch of images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""

    @property
    def input(self) -> Input:
        """The shape of its images, and how images of other shapes are fitted to it."""

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits of a batch.

        Args:
            batch: uint8 [image, height, width, channel], of the shape of `input`; any number of images.

        Returns:
            float32 [image, class]; their softmax gives the probabilities.
        """


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
        probabilities: each class and its probability, 0 to 1, the most probable first; at least one.
    """

    probabilities: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.probabilities[0][0]

    @property
    def probability(self) -> float:
        """The probability of `label`, 0 to 1."""
        return self.probabilities[0][1]


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probabilities, float32 [image, class], 0 to 1, of logits of the same type and shape."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def predictions(logits: npt.NDArray[np.float32], classes: Sequence[str]) -> list[Prediction]:
    """Return one prediction per image, in order, from logits float32 [image, class]."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1).tolist()
    return [
        Prediction(tuple(zip([classes[label] for label in labels], row, strict=True)))
        for labels, row in zip(order.tolist(), ranked, strict=True)
    ]


def predict(model: Model, batch: npt.NDArray[np.uint8]) -> list[Prediction]:
    """Classify a batch, uint8 [image, height, width, channel], and return one prediction per image, in order."""
    return predictions(model.logits(batch), model.classes) if len(batch) else []
