"""Images with what a model says of them: all that a report measures."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets import Dataset, TrainingData
from visionbus.vision.datasets.listing import Part
from visionbus.vision.evaluation import Evaluation, logits_of, measure
from visionbus.vision.model import Model


@dataclass(frozen=True, eq=False)
class Measured:
    """Images that a model has not learnt, with its logits.

    Attributes:
        dataset: the images, at least one.
        logits: float32 [image, class], in the order of the images.
        part: the split that the images are; "train" where the data has no other.
        note: what else a reader must know of these figures, in sentences; usually nothing.
    """

    dataset: Dataset
    logits: npt.NDArray[np.float32]
    part: Part
    note: str = ""

    @classmethod
    def by(cls, model: Model, data: TrainingData) -> Self:
        """Let `model` classify the measuring split of `data`.

        Raises:
            DatasetError: if it has no images, or their shape or classes differ from the model's.
        """
        dataset = data.parts[data.measuring]
        return cls(dataset, logits_of(model, dataset), data.measuring)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The figures of the model on these images."""
        return measure(self.logits, self.dataset.labels, self.dataset.classes)
