"""Opens data by what a user calls it: `fashion-mnist`, or a folder."""

import logging
from dataclasses import dataclass
from pathlib import Path

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
    """What a training needs to know of its data.

    Attributes:
        name: what it is called in the model's file.
        input: what the images were brought to, and the model will want.
        train: what is learnt.
        test: what the finished model is measured on, once; None where there is none.
        skipped: the files that could not be read.
    """

    name: str
    input: Input
    train: Dataset
    test: Dataset | None = None
    skipped: tuple[Skipped, ...] = ()


def open_training(source: str | Path | Dataset) -> TrainingData:
    """Open what a model is to learn: "fashion-mnist", a folder with a folder a class, or a data set in memory.

    Raises:
        DatasetError: when it is none of these, or cannot be read.
    """
    if isinstance(source, Dataset):
        height, width, channels = source.images.shape[1:]
        return TrainingData("arrays", Input(height, width, "L" if channels == 1 else "RGB"), source)
    if source == FASHION_MNIST:
        return TrainingData(FASHION_MNIST, Input(28, 28, "L"), fashion_mnist("train"), fashion_mnist("test"))
    found = read_folder(_folder(source))
    return TrainingData(Path(source).resolve().name, found.input, found.dataset, skipped=found.skipped)


def open_for(model: Model, source: str | Path) -> Dataset:
    """Open labelled images to measure `model` on: the test part of "fashion-mnist", or a folder with a folder a class.

    A folder's images are brought to the model's input; files that cannot be read are logged.

    Raises:
        DatasetError: when it is none of these, cannot be read, or has classes that the model does not know.
    """
    if source == FASHION_MNIST:
        return fashion_mnist("test")
    found = read_folder(_folder(source), model.input, classes=model.classes)
    for skipped in found.skipped:
        _log.warning("skipped %s: %s", skipped.name, skipped.reason)
    return found.dataset


def _folder(source: str | Path) -> Path:
    if not Path(source).is_dir():
        raise DatasetError(f"{source} is no folder: name {FASHION_MNIST}, or a folder with a folder a class")
    return Path(source)
