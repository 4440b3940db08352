"""The data of a training, opened: its splits, and what was found on the way."""

from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.leaks import Digests, Leak, Place, find_leaks, kept_out
from visionbus.vision.datasets.listing import PARTS, Part, Skipped
from visionbus.vision.images import Input
from visionbus.vision.text import count

_NAMED = 5  # classes, in a note


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The data of a training.

    Attributes:
        name: what the model's file calls it.
        input: what the images were fitted to, and the model will take.
        train: the images to learn from.
        test: the images that the finished model is measured on, once; None if there are none.
        skipped: the files that could not be read.
        validation: the images that decisions are made on; None if there are none.
        trainval: `train` and `validation` together, to fit the final model on; None for `train` alone.
        layout: what was recognised, in words.
        leaks: images with the same pixels in two splits or under two labels.
        notes: what else there is to say, a sentence each.
        held_out: whether `validation` was held out of training here, and not given as a split.
    """

    name: str
    input: Input
    train: Dataset
    test: Dataset | None = None
    skipped: tuple[Skipped, ...] = ()
    validation: Dataset | None = None
    trainval: Dataset | None = None
    layout: str = "arrays"
    leaks: tuple[Leak, ...] = ()
    notes: tuple[str, ...] = ()
    held_out: bool = False

    @property
    def parts(self) -> dict[Part, Dataset]:
        """The splits that there are, by their names."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: dataset for part in PARTS if (dataset := found[part]) is not None}

    @property
    def measuring(self) -> Part:
        """The split that a finished model is measured on: test, or else validation, or else all images."""
        return next((part for part, dataset in reversed(self.parts.items()) if len(dataset)), "train")


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split before they are checked for leaks.

    Attributes:
        dataset: the images.
        marks: the digest of each, uint8 [image, 16].
    """

    dataset: Dataset
    marks: Digests


def divided(data: TrainingData, parts: Mapping[Part, Split], *, keep_leaks: bool, memory: int) -> TrainingData:
    """Divide data into splits, after these were checked for leaks.

    Args:
        data: what is known of it but for the splits.
        parts: the splits, of which those without images count as none.
        keep_leaks: whether images stay in validation and test that should not measure anything.
        memory: a split that loses images is copied; above this many bytes it is memory-mapped.
    """
    parts = {part: parts[part] for part in PARTS if part == "train" or (part in parts and len(parts[part].dataset))}
    leaks, copies = find_leaks(np.concatenate([split.marks for split in parts.values()]), _placing(parts))
    out = [] if keep_leaks else kept_out(leaks)
    notes = [f"copies within one split and class: {copies}"] if copies else []
    notes += [f"kept out of validation and test, since they leak: {count(len(out), 'image')}"] if out else []
    contradicted = sum(len(leak.places) for leak, _ in leaks if leak.across_labels)
    if contradicted:
        notes += [
            f"{contradicted} images contradict each other, the same pixels under two labels: remove the wrong ones"
        ]
    left: dict[Part, Dataset] = {}
    start = 0
    for part, split in parts.items():
        left[part] = _without(split.dataset, [index - start for index in out], memory)
        start += len(split.dataset)
    notes += [note for part, dataset in left.items() if part != "train" for note in _empty_classes(part, dataset)]
    return replace(
        data,
        train=left["train"],
        validation=left.get("validation"),
        test=left.get("test"),
        leaks=tuple(leak for leak, _ in leaks),
        notes=(*data.notes, *notes),
    )


def _empty_classes(part: Part, dataset: Dataset) -> list[str]:
    """Note the classes of which a split that measures has nothing."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    empty = [name for name, number in zip(dataset.classes, counts.tolist(), strict=True) if not number]
    if not empty:
        return []
    more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
    return [f"{part} has no image of {', '.join(empty[:_NAMED])}{more}: nothing is known of how well it is found"]


def _placing(parts: Mapping[Part, Split]) -> Callable[[int], Place]:
    """Return what tells where an image is, by its index, those of the first split first."""
    starts = list(accumulate((len(split.dataset) for split in parts.values()), initial=0))

    def place(index: int) -> Place:
        number = bisect(starts, index) - 1
        part, dataset = list(parts)[number], list(parts.values())[number].dataset
        own = index - starts[number]
        return Place(
            part, dataset.classes[dataset.labels[own]], dataset.names[own] if dataset.names else f"image {own}"
        )

    return place


def _without(dataset: Dataset, out: list[int], memory: int) -> Dataset:
    """Return a data set without some images; indices beyond its ends are those of other splits."""
    lost = [index for index in out if 0 <= index < len(dataset)]
    return dataset.subset(np.delete(np.arange(len(dataset)), lost), memory=memory) if lost else dataset
