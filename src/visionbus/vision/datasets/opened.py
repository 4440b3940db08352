"""The data of a training, opened: its splits, and what was found on the way."""

from dataclasses import dataclass, replace

import numpy as np

from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.leaks import Digests, Leak, Place, find_leaks, kept_out
from visionbus.vision.datasets.listing import PARTS, Part, Skipped
from visionbus.vision.images import Input


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


def divided(data: TrainingData, sizes: dict[Part, int], marks: Digests, *, keep_leaks: bool) -> TrainingData:
    """Divide `data.train`, which holds all images, into splits, and check these for leaks.

    Args:
        data: all images are in `train`, those of training first, then those of validation, then those of test.
        sizes: how many images each split has.
        marks: the digest of each image, uint8 [image, 16].
        keep_leaks: whether images stay in validation and test that should not measure anything.
    """
    whole = data.train
    owner = [part for part in PARTS for _ in range(sizes.get(part, 0))]
    names = whole.names or tuple(f"image {number}" for number in range(len(whole)))
    places = [
        Place(part, whole.classes[label], name)
        for part, label, name in zip(owner, whole.labels.tolist(), names, strict=True)
    ]
    leaks, copies = find_leaks(marks, places)
    out = [] if keep_leaks else kept_out(leaks)
    notes = [f"{copies} images are copies within one split and class"] if copies else []
    notes += [f"{len(out)} images are kept out of validation and test, since they leak"] if out else []
    ends = np.cumsum([0, *(sizes.get(part, 0) for part in PARTS)])
    parts = {part: _part(whole, ends[n], ends[n + 1], out) for n, part in enumerate(PARTS)}
    return replace(
        data,
        train=parts["train"],
        validation=parts["validation"] if sizes.get("validation") else None,
        test=parts["test"] if sizes.get("test") else None,
        trainval=_part(whole, 0, ends[2], []),
        leaks=tuple(leak for leak, _ in leaks),
        notes=(*data.notes, *notes),
    )


def _part(whole: Dataset, start: int, end: int, out: list[int]) -> Dataset:
    """Return some consecutive images as a view, which takes no memory; or without those in `out`, copied."""
    lost = [index - start for index in out if start <= index < end]
    part = Dataset(whole.images[start:end], whole.labels[start:end], whole.classes, whole.names[start:end])
    return part.subset(np.delete(np.arange(end - start), lost)) if lost else part
