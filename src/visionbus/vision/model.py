"""What a model is, and how its logits become predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from visionbus.vision.images import Input


class Model(Protocol):
    """Anything that gives logits for a batch of images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""

    @property
    def input(self) -> Input:
        """The shape of an image, and how others are brought to it."""

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classify a batch.

        Args:
            batch: uint8 [image, height, width, channel], of the shape of `input`; any number of images.

        Returns:
            float32 [image, class]; their softmax is the model's belief.
        """


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        label: the most probable class.
        probability: its probability, 0 to 1.
        probabilities: every class and its probability, the most probable first.
    """

    label: str
    probability: float
    probabilities: tuple[tuple[str, float], ...]


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn logits float32 [image, class] into probabilities of the same shape."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def predictions(logits: npt.NDArray[np.float32], classes: Sequence[str]) -> list[Prediction]:
    """Turn logits float32 [image, class] into one prediction an image."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1).tolist()
    return [
        Prediction(classes[labels[0]], row[0], tuple(zip([classes[label] for label in labels], row, strict=True)))
        for labels, row in zip(order.tolist(), ranked, strict=True)
    ]


def predict(model: Model, batch: npt.NDArray[np.uint8]) -> list[Prediction]:
    """Classify a batch, uint8 [image, height, width, channel]; one prediction an image, in order."""
    return predictions(model.logits(batch), model.classes) if len(batch) else []
