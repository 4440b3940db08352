"""Collects what a report shows of each class, and of the images in it."""

from dataclasses import dataclass

import numpy as np

from visionbus.vision.datasets import Dataset, TrainingData
from visionbus.vision.datasets.contact import evenly
from visionbus.vision.datasets.listing import Part
from visionbus.vision.evaluation import ClassFigures, Evaluation
from visionbus.vision.report.thumbnails import Thumbnails

_MOST = 1000  # classes that are shown
_SHOWN = 400  # images of all contact sheets, but at least one per class
_ROW = 12  # images of one contact sheet


@dataclass(frozen=True)
class ClassRow:
    """The figures of one class; None is what cannot be said without images."""

    name: str
    figures: ClassFigures
    precision: float | None
    recall: float | None


def class_rows(found: Evaluation) -> list[ClassRow]:
    """Return a row per class, the worst F1 first, classes without images last; of very many the first 1,000."""
    called = np.asarray(found.confusion).sum(axis=0)
    rows = [
        ClassRow(name, one, one.precision if called[label] else None, one.recall if one.support else None)
        for label, (name, one) in enumerate(found.per_class.items())
    ]
    return sorted(rows, key=lambda row: (row.recall is None, row.figures.f1))[:_MOST]


@dataclass(frozen=True)
class Tile:
    """One image on a contact sheet: where it came from, and its data URI."""

    name: str
    uri: str


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of one class, and how many images it has in each split."""

    name: str
    counts: dict[Part, int]
    tiles: tuple[Tile, ...]


def sheets(data: TrainingData, thumbnails: Thumbnails) -> list[Sheet]:
    """Return a contact sheet per class, in the order of the classes; of very many the first 1,000."""
    dataset = data.trainval or data.train
    if not len(dataset):
        dataset = data.parts[data.measuring]
    classes = dataset.classes[:_MOST]
    most = max(1, min(_ROW, _SHOWN // len(classes)))
    side = 64 if most > 1 else 48
    order = np.argsort(dataset.labels, kind="stable")
    ends = np.searchsorted(dataset.labels[order], np.arange(len(dataset.classes) + 1))
    counts = {part: np.bincount(one.labels, minlength=len(one.classes)) for part, one in data.parts.items()}
    return [
        Sheet(
            name,
            {part: int(numbers[label]) for part, numbers in counts.items()},
            tuple(
                Tile(name_of(dataset, int(index)), thumbnails.uri(dataset.images[index], side))
                for index in evenly(order[ends[label] : ends[label + 1]], most)
            ),
        )
        for label, name in enumerate(classes)
    ]


def name_of(dataset: Dataset, index: int) -> str:
    """Return where an image came from, or its number."""
    return dataset.names[index] if dataset.names else f"image {index}"
