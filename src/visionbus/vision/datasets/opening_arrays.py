"""Opens arrays: brings them into one shape, and divides them."""

from collections.abc import Sequence

from visionbus.vision.datasets.array_sources import Arrays
from visionbus.vision.datasets.arrays import Labels, classes_of, images_from, indices, label_names
from visionbus.vision.datasets.checks import Checks, check_broken
from visionbus.vision.datasets.dataset import Dataset, joined
from visionbus.vision.datasets.holdout import Holdout
from visionbus.vision.datasets.leaks import digests
from visionbus.vision.datasets.listing import PARTS, Part
from visionbus.vision.datasets.opened import Split, TrainingData, divided
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input
from visionbus.vision.text import plain


def open_arrays(
    found: Arrays, classes: Sequence[str] | None, *, holdout: Holdout, checks: Checks, memory: int
) -> TrainingData:
    """Bring arrays into one shape and order, and divide them into splits.

    An array that need not be converted or put into another order is taken as it is, without a copy.

    Args:
        found: the arrays.
        classes: the names of the classes and their order; by default those found.
        holdout: the validation split that is made where none is given.
        checks: what is let pass.
        memory: what has to be copied and takes more bytes than this is memory-mapped from a temporary file.

    Raises:
        DatasetError: as `open_data` does.
    """
    parts, notes = _datasets(found, classes, memory)
    intact = sum(len(part) for part in parts.values())
    check_broken(found.name, found.skipped, intact + len(found.skipped), checks.allow_broken)
    parts, trainval, said = _with_validation(parts, holdout, memory)
    height, width, channels = trainval.images.shape[1:]
    data = TrainingData(
        plain(found.name),
        Input(height, width, "L" if channels == 1 else "RGB"),
        trainval,
        trainval=trainval,
        skipped=found.skipped,
        layout=found.layout,
        notes=(*notes, *said),
        held_out="validation" in parts and "validation" not in found.parts,
    )
    splits = {part: Split(dataset, digests(dataset.images)) for part, dataset in parts.items()}
    return divided(data, splits, keep_leaks=checks.keep_leaks, memory=memory)


def _datasets(found: Arrays, classes: Sequence[str] | None, memory: int) -> tuple[dict[Part, Dataset], list[str]]:
    """Return each split as a data set, all of one shape and with the same classes, and notes."""
    notes, images = list(found.notes), {}
    labels: dict[Part, Labels] = {}
    for part in (part for part in PARTS if part in found.parts):
        pixels, marks = found.parts[part]
        images[part], said = images_from(pixels, f"{found.name} ({part} images)", memory)
        labels[part] = label_names(marks, len(images[part]), f"{found.name} ({part} labels)")
        notes += said
    if "train" not in images:  # as where a test set alone is measured
        images["train"], labels["train"] = next(iter(images.values()))[:0], []
    if len({array.shape[1:] for array in images.values()}) > 1:
        raise DatasetError(
            f"{found.name} has splits of different shapes: {', '.join(str(a.shape) for a in images.values())}"
        )
    named = found.classes
    if classes is not None:
        named, labels = classes, _in_names(labels, found, classes)
    known = classes_of([label for part in labels.values() for label in part], named, found.name)
    parts = {}
    for part in (part for part in PARTS if part in images):
        array = images[part]
        names = (part == "train" and found.names) or tuple(f"image {number}" for number in range(len(array)))
        parts[part] = Dataset(array, indices(labels[part], known, named=named is not None), known, names)
    return parts, notes


def _in_names(labels: dict[Part, Labels], found: Arrays, classes: Sequence[str]) -> dict[Part, Labels]:
    """Return labels for the classes that are given: the numbers of data that names its own are those of these.

    Numbers without names are names themselves if classes are called like all of them, as where they were learnt from
    such numbers; else they are indices.
    """
    present = [label for part in labels.values() for label in part]
    if found.classes is not None:
        own = classes_of(present, found.classes, found.name)
        return {part: [own[one] if isinstance(one, int) else one for one in marks] for part, marks in labels.items()}
    if {str(label) for label in present} <= set(classes):
        return {part: [str(one) for one in marks] for part, marks in labels.items()}
    return labels


def _with_validation(
    parts: dict[Part, Dataset], holdout: Holdout, memory: int
) -> tuple[dict[Part, Dataset], Dataset, list[str]]:
    """Hold out a validation split if none is given; return training and validation together, too."""
    train = parts["train"]
    if not holdout.wanted(parts):
        return parts, joined(train, parts["validation"], memory) if "validation" in parts else train, []
    whole, held, said = holdout.put_last(train, memory)
    if not held:
        return parts, train, said
    border = len(train) - held
    made: dict[Part, Dataset] = {"train": whole.subset(slice(border)), "validation": whole.subset(slice(border, None))}
    return {**parts, **made}, whole, said
