"""Measures any model on any data set: accuracy, each class, confusion, calibration."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets import Dataset
from visionbus.vision.errors import DatasetError
from visionbus.vision.model import Model, softmax

_BINS = 15


@dataclass(frozen=True)
class ClassFigures:
    """How one class fared.

    Attributes:
        precision: of the images called so, the share that are so; 0 where none was called so.
        recall: of the images that are so, the share called so; 0 where there is none.
        f1: their harmonic mean.
        support: how many images are so.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Bin:
    """The images whose best probability fell within one bin.

    Attributes:
        images: how many they are.
        confidence: the mean of their best probabilities.
        accuracy: the share that was right. Where a model is calibrated, these two are one.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed.

    Attributes:
        error: the expected calibration error, 0 to 1: the mean gap between confidence and accuracy, by images
            (Guo et al.: On Calibration of Modern Neural Networks, 2017).
        loss: the mean negative log-likelihood of the right class, in nats.
        bins: of equal width from 0 to 1, the empty ones left out.
    """

    error: float
    loss: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a data set.

    Attributes:
        accuracy: the share of images whose most probable class was right, 0 to 1.
        images: how many were looked at.
        per_class: figures by the class's name.
        confusion: a row for each true class, in it a count for each predicted one.
        calibration: how far the probabilities can be believed.
    """

    accuracy: float
    images: int
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration

    def to_json(self) -> dict[str, object]:
        """Give all of it as JSON values, by these names."""
        return asdict(self)


def evaluate(model: Model, dataset: Dataset, *, batch_size: int = 250) -> Evaluation:
    """Let `model` classify `dataset`, once and as it is, and measure how it did.

    Raises:
        DatasetError: when there are no images, or their shape or classes are not the model's.
    """
    _check(model, dataset)
    starts = range(0, len(dataset), batch_size)
    logits = np.concatenate([model.logits(dataset.images[start : start + batch_size]) for start in starts])
    return measure(logits, dataset.labels, model.classes)


def measure(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Measure logits float32 [image, class] against labels int64 [image]."""
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(
        accuracy=float((predicted == labels).mean()),
        images=len(labels),
        per_class={name: _figures(confusion, label) for label, name in enumerate(classes)},
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration=_calibration(softmax(logits), labels),
    )


def _check(model: Model, dataset: Dataset) -> None:
    if not len(dataset):
        raise DatasetError("the data set holds no images: nothing can be measured")
    if dataset.images.shape[1:] != model.input.shape:
        raise DatasetError(
            f"images of shape {dataset.images.shape[1:]}, but the model wants {model.input.shape}: "
            "load them with the model's input"
        )
    if dataset.classes != model.classes:
        raise DatasetError(
            f"the data set's classes are {', '.join(dataset.classes)}; the model's are {', '.join(model.classes)}: "
            "evaluate on data of the same classes"
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
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    bins = tuple(
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean()))
        for chosen in (place == number for number in range(_BINS))
        if chosen.any()
    )
    error = sum(part.images * abs(part.confidence - part.accuracy) for part in bins) / len(labels)
    likelihood = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Calibration(error, float(-np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).mean()), bins)
