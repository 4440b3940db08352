"""Makes the validation split where none is given."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.dataset import Dataset, stratified
from visionbus.vision.datasets.listing import Part


@dataclass(frozen=True)
class Holdout:
    """The validation split that is made where none is given.

    Attributes:
        fraction: of each class, above 0 and below 1; 0 makes none.
        seed: the same seed gives the same split.
    """

    fraction: float = 0.1
    seed: int = 0

    def wanted(self, parts: Mapping[Part, object]) -> bool:
        """Return whether a split is to be made, given those that there are."""
        return "validation" not in parts and self.fraction > 0

    def choose(self, labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], int, list[str]]:
        """Choose images, the same share of each class.

        Args:
            labels: int64 [image], of the images to learn from.

        Returns:
            An order, int [image], in which the chosen images stand behind the others, how many they are, and notes.
        """
        chosen = stratified(labels, self.fraction, self.seed)
        held = int(chosen.sum())
        said = (
            f"no validation split is given: {self.fraction:g} of each class is held out of training (seed {self.seed})"
        )
        return np.concatenate([np.flatnonzero(~chosen), np.flatnonzero(chosen)]), held, [said] if held else []

    def put_last(self, dataset: Dataset, memory: int) -> tuple[Dataset, int, list[str]]:
        """Return the images with those that are held out behind the others, how many these are, and notes.

        More than `memory` bytes of images are memory-mapped from a temporary file.

        Raises:
            DatasetError: if there is no room for it.
        """
        order, held, said = self.choose(dataset.labels)
        return dataset.subset(order, memory=memory) if held else dataset, held, said
