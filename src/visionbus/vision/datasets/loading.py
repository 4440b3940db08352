"""Loads data by what a user calls it: `fashion-mnist`, or a folder."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.folders import Skipped, read_folder
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input
from visionbus.vision.model import Model

FASHION_MNIST = "fashion-mnist"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The data of a training.

    Attributes:
        name: what the model's file calls it.
        input: what the images were fitted to, and the model will take.
        train: the images to learn from.
        test: the images that the finished model is measured on, once; None if there are none.
        skipped: the files that could not be read.
    """

    name: str
    input: Input
    train: Dataset
    test: Dataset | None = None
    skipped: tuple[Skipped, ...] = ()


def load_training_data(source: str | Path | Dataset) -> TrainingData:
    """Load what a model is to be trained on.

    Args:
        source: "fashion-mnist", a folder with one subfolder per class, or a data set in memory.

    Raises:
        DatasetError: if it is none of these, cannot be read, or has images of fewer than two classes.
    """
    loaded = _load(source)
    present = [loaded.train.classes[label] for label in np.unique(loaded.train.labels)]
    if len(present) < 2:
        only = f"one class only, {present[0]!r}" if present else "no class"
        raise DatasetError(
            f"{loaded.name} has images of {only}: give images of at least two (in a folder, one subfolder per class)"
        )
    return loaded


def _load(source: str | Path | Dataset) -> TrainingData:
    if isinstance(source, Dataset):
        height, width, channels = source.images.shape[1:]
        return TrainingData("arrays", Input(height, width, "L" if channels == 1 else "RGB"), source)
    if source == FASHION_MNIST:
        return TrainingData(FASHION_MNIST, Input(28, 28, "L"), fashion_mnist("train"), fashion_mnist("test"))
    found = read_folder(_folder(source))
    return TrainingData(Path(source).resolve().name, found.input, found.dataset, skipped=found.skipped)


def load_evaluation_data(model: Model, source: str | Path) -> Dataset:
    """Load labelled images to measure `model` on.

    Args:
        model: its input is what a folder's images are fitted to, and its classes are those of the data set.
        source: "fashion-mnist" for its test set, or a folder with one subfolder per class. Files in the folder that
            cannot be read are logged.

    Raises:
        DatasetError: if it is neither, cannot be read, or has classes that the model does not know.
    """
    if source == FASHION_MNIST:
        return fashion_mnist("test")
    found = read_folder(_folder(source), model.input, classes=model.classes)
    for skipped in found.skipped:
        _log.warning("skipped %s: %s", skipped.name, skipped.reason)
    return found.dataset


def _folder(source: str | Path) -> Path:
    if not Path(source).is_dir():
        raise DatasetError(f"{source} is not a folder: name {FASHION_MNIST}, or a folder with one subfolder per class")
    return Path(source)
