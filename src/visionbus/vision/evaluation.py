"""Measures any model on any data set: accuracy, per-class figures, confusion, calibration."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets import Dataset
from visionbus.vision.errors import DatasetError
from visionbus.vision.model import Model, softmax

BINS = 15  # of a calibration
_NORMAL = 1.959964  # standard deviations on either side of the mean that hold 95 % of a normal distribution


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class.

    Attributes:
        precision: of the images predicted as this class, the fraction that belong to it; 0 if none were.
        recall: of the images of this class, the fraction predicted as it; 0 if there are none.
        f1: the harmonic mean of precision and recall.
        support: how many images belong to this class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability falls into one bin.

    Attributes:
        images: how many there are.
        confidence: the mean of their highest probabilities.
        accuracy: the fraction predicted correctly; for a calibrated model it equals `confidence`.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities can be trusted.

    Attributes:
        error: the expected calibration error, 0 to 1: the mean gap between confidence and accuracy, weighted by
            images (Guo et al.: On Calibration of Modern Neural Networks, 2017).
        loss: the mean negative log-likelihood of the right class, in nats.
        bins: of equal width from 0 to 1, without the empty ones.
    """

    error: float
    loss: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on a data set.

    Attributes:
        accuracy: the fraction of images whose most probable class is the right one, 0 to 1.
        images: how many were classified.
        per_class: the figures of each class, by its name.
        confusion: counts of images, [true class][predicted class].
        calibration: how far the probabilities can be trusted.
    """

    accuracy: float
    images: int
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy on all images like these lies, with 95 % confidence; see `wilson`."""
        return wilson(round(self.accuracy * self.images), self.images)

    def to_json(self) -> dict[str, object]:
        """Return all attributes and `interval` as JSON values, under the same names."""
        return {**asdict(self), "interval": self.interval}


def evaluate(model: Model, dataset: Dataset, *, batch_size: int = 250) -> Evaluation:
    """Classify every image of `dataset` once, unchanged, and measure the result.

    Args:
        model: what to measure.
        dataset: labelled images of the shape of `model.input`, with the model's classes in the same order.
        batch_size: the number of images passed to the model at a time.

    Raises:
        DatasetError: if there are no images, or their shape or classes differ from the model's.
    """
    return measure(logits_of(model, dataset, batch_size=batch_size), dataset.labels, model.classes)


def logits_of(model: Model, dataset: Dataset, *, batch_size: int = 250) -> npt.NDArray[np.float32]:
    """Return the logits, float32 [image, class], of every image of `dataset`; see `evaluate`.

    Raises:
        DatasetError: if there are no images, or their shape or classes differ from the model's.
    """
    _check(model, dataset)
    starts = range(0, len(dataset), batch_size)
    return np.concatenate([model.logits(dataset.images[start : start + batch_size]) for start in starts])


def wilson(right: int, images: int) -> tuple[float, float]:
    """Return the interval, 0 to 1, that holds a true share with 95 % confidence, seen `right` times in `images`.

    It is fair also for few images and for shares near 0 and 1 (Wilson: Probable Inference, the Law of Succession, and
    Statistical Inference, 1927). Of no images nothing is known: 0 to 1.
    """
    if not images:
        return 0.0, 1.0
    share, spread = right / images, _NORMAL**2 / images
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def measure(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Measure logits, float32 [image, class], against labels, int64 [image], each an index into `classes`."""
    probabilities = softmax(logits)
    predicted = probabilities.argmax(axis=1)  # as whatever else looks at probabilities: rounding may make two the same
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(
        accuracy=float((predicted == labels).mean()),
        images=len(labels),
        per_class={name: _figures(confusion, label) for label, name in enumerate(classes)},
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration=_calibration(probabilities, labels),
    )


def _check(model: Model, dataset: Dataset) -> None:
    if not len(dataset):
        raise DatasetError("the data set has no images: evaluate on a data set that has some")
    if dataset.images.shape[1:] != model.input.shape:
        raise DatasetError(
            f"the images have shape {dataset.images.shape[1:]}, but the model wants {model.input.shape}: "
            "give image files, which are fitted to it, or arrays of that shape"
        )
    if dataset.classes != model.classes:
        raise DatasetError(
            f"the data set's classes are {', '.join(dataset.classes)}; the model's are {', '.join(model.classes)}: "
            "evaluate on data with the same classes"
        )


def _figures(confusion: npt.NDArray[np.int64], label: int) -> ClassFigures:
    right, called, support = confusion[label, label], confusion[:, label].sum(), confusion[label].sum()
    return ClassFigures(
        precision=float(right / called) if called else 0.0,
        recall=float(right / support) if support else 0.0,
        f1=float(2 * right / (called + support)) if called + support else 0.0,
        support=int(support),
    )


def _calibration(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Calibration:
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = tuple(
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean()))
        for chosen in (place == number for number in range(BINS))
        if chosen.any()
    )
    error = sum(part.images * abs(part.confidence - part.accuracy) for part in bins) / len(labels)
    likelihood = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Calibration(error, float(-np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).mean()), bins)
