"""Chooses the images that are worth a look, and shows them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.report.classes import name_of
from visionbus.vision.report.measured import Measured
from visionbus.vision.report.mistakes import Confusion, suspect_labels, worst_mistakes
from visionbus.vision.report.thumbnails import Thumbnails

LISTED = 100  # suspect labels, skipped files and leaks that are named; the others are counted
_SHOWN = 24  # images of a gallery
_SIDE = 96  # pixels of an image in a gallery


@dataclass(frozen=True)
class Picture:
    """One classified image.

    Attributes:
        name: where it came from.
        uri: its data URI; empty where there was no room left.
        label: the class that it is labelled as.
        predicted: the most probable class.
        given: the probability of `label`, 0 to 1.
        sure: the probability of `predicted`, 0 to 1.
        suspect: whether the label may be wrong.
    """

    name: str
    uri: str
    label: str
    predicted: str
    given: float
    sure: float
    suspect: bool


class Gallery:
    """The images that are worth a look."""

    def __init__(self, measured: Measured, probabilities: npt.NDArray[np.float32], thumbnails: Thumbnails) -> None:
        self._dataset = measured.dataset
        self.probabilities = probabilities
        self.thumbnails = thumbnails
        self.suspects = suspect_labels(probabilities, measured.dataset.labels)
        self._suspicious = set(self.suspects.tolist())
        self.mistakes = worst_mistakes(probabilities, measured.dataset.labels)
        self.worst = [self._picture(index) for index in self.mistakes[:_SHOWN]]
        shown = set(self.mistakes[:_SHOWN].tolist())
        further = [index for index in self.suspects.tolist() if index not in shown][:_SHOWN]
        self.shown_suspects = len(self._suspicious & shown)
        self.further = [self._picture(index) for index in further]
        self.listed = [self._picture(index, side=0) for index in self.suspects[:LISTED]]

    def example(self, confusion: Confusion) -> Picture:
        """Return the surest mistake of this kind."""
        labels = self._dataset.labels[self.mistakes]
        predicted = self.probabilities[self.mistakes].argmax(axis=1)
        places = np.flatnonzero((labels == confusion.label) & (predicted == confusion.predicted))
        return self._picture(int(self.mistakes[places[0]]))

    def _picture(self, index: int, *, side: int = _SIDE) -> Picture:
        """Describe an image; with a side of 0 without showing it."""
        label, row = int(self._dataset.labels[index]), self.probabilities[index]
        return Picture(
            name_of(self._dataset, index),
            self.thumbnails.uri(self._dataset.images[index], side) if side else "",
            self._dataset.classes[label],
            self._dataset.classes[int(row.argmax())],
            float(row[label]),
            float(row.max()),
            index in self._suspicious,
        )
