"""Finds what is worth a look: the worst mistakes, labels that may be wrong, classes that are taken for others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_UNLIKELY = 0.05  # a label that the model gives less than this probability may be wrong


def worst_mistakes(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return the misclassified images, int [mistake], the surest first.

    Args:
        probabilities: float32 [image, class], 0 to 1.
        labels: int64 [image].
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def suspect_labels(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return the images whose labels may be wrong, int [image], the least likely label first.

    A label is suspect if the model gives it less than 5 %, and another class at least what it gives on average to the
    images of that class: the thresholds of confident learning (Northcutt, Jiang, Chuang: Confident Learning, 2021).
    It says something of images that the model has not learnt alone.

    Args:
        probabilities: float32 [image, class], 0 to 1.
        labels: int64 [image].
    """
    classes = probabilities.shape[1]
    given = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=given, minlength=classes)
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    other, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    suspect = np.flatnonzero((other != labels) & (sure >= usual[other]) & (given < _UNLIKELY))
    return suspect[np.lexsort((-sure[suspect], given[suspect]))]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are taken for another.

    Attributes:
        label: the class that they belong to, an index.
        predicted: the class that they are taken for, an index.
        images: how many.
        share: of all images of the class, 0 to 1.
    """

    label: int
    predicted: int
    images: int
    share: float


def worst_confusions(counts: Sequence[Sequence[int]], most: int) -> list[Confusion]:
    """Return at most `most` confusions of counts [true class][predicted class], the commonest first."""
    matrix = np.asarray(counts, dtype=np.int64)
    support = matrix.sum(axis=1)
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(place // len(matrix)), int(place % len(matrix))) for place in order]
    return [
        Confusion(label, predicted, int(matrix[label, predicted]), float(matrix[label, predicted] / support[label]))
        for label, predicted in pairs
        if wrong[label, predicted]
    ]
