"""Loads what a model is measured on, or all of a folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visionbus.vision.datasets.array_sources import FASHION_MNIST, Source
from visionbus.vision.datasets.checks import Checks
from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.decoding import Decoding
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.folders import list_folder
from visionbus.vision.datasets.holdout import Holdout
from visionbus.vision.datasets.listing import Skipped
from visionbus.vision.datasets.opened import TrainingData
from visionbus.vision.datasets.opening import open_data
from visionbus.vision.datasets.opening_files import open_files
from visionbus.vision.datasets.tables import Columns, are_given
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input
from visionbus.vision.model import Model

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """The images of a folder.

    Attributes:
        dataset: the images that could be read; their `names` are paths relative to the folder.
        input: the shape that they were fitted to.
        skipped: the files that could not be read.
    """

    dataset: Dataset
    input: Input
    skipped: tuple[Skipped, ...]


def read_folder(folder: Path, spec: Input | None = None, *, classes: Sequence[str] | None = None) -> Folder:
    """Decode all images of a folder with one subfolder per class, however many are broken.

    Args:
        folder: the folder with the subfolders.
        spec: what to fit the images to; by default what suits them, see `suitable_input`.
        classes: the names and their order; by default the subfolders that have files in them, sorted by name.

    Raises:
        DatasetError: if there is no class, no intact image, or a subfolder that is not in `classes`; or if the folder
            is divided into splits.
    """
    listing = list_folder(folder)
    if any(file.part != "train" for file in listing.files):
        raise DatasetError(f"{folder} is divided into splits: name the folder of one, or open all by open_data")
    classes = classes or sorted({file.label for file in listing.files})
    data = open_files(listing, spec, classes, holdout=Holdout(0), checks=Checks(allow_broken=1), decoding=Decoding())
    if not len(data.train):
        raise DatasetError(f"none of the {len(data.skipped)} files in {folder} is an intact image; {data.skipped[0]}")
    return Folder(data.train, data.input, data.skipped)


def load_evaluation_data(
    model: Model,
    source: Source,
    *,
    columns: Columns | None = None,
    checks: Checks | None = None,
    decoding: Decoding | None = None,
) -> Dataset:
    """Load labelled images to measure `model` on: the test split, or else the validation split, or else all images.

    Args:
        model: its input is what image files are fitted to, and its classes are those of the data set.
        source: what `open_data` takes. Files that cannot be read are logged.
        columns: which columns of a table mean what.
        checks: what is let pass.
        decoding: how image files are decoded.

    Raises:
        DatasetError: as `open_data` does, and if there are classes that the model does not know.
    """
    if source == FASHION_MNIST and not are_given(columns):
        return fashion_mnist("test")
    data = open_evaluation_data(model, source, columns=columns, checks=checks, decoding=decoding)
    return data.parts[data.measuring]


def open_evaluation_data(
    model: Model,
    source: Source,
    *,
    columns: Columns | None = None,
    checks: Checks | None = None,
    decoding: Decoding | None = None,
) -> TrainingData:
    """Open data to measure `model` on with all that was found; `load_evaluation_data` returns its measuring split.

    Raises:
        DatasetError: as `open_data` does, and if there are classes that the model does not know.
    """
    data = open_data(
        source,
        model.input,
        classes=model.classes,
        columns=columns,
        holdout=Holdout(0),
        checks=checks,
        decoding=decoding,
    )
    for skipped in data.skipped:
        _log.warning("skipped %s: %s", skipped.name, skipped.reason)
    figures = getattr(model, "figures", {})
    if isinstance(source, str | Path) and data.measuring == "train" and data.name == figures.get("dataset"):
        _log.warning(
            "the model has learnt from data called %s: on images that it has not seen it may be worse", data.name
        )
    return data
