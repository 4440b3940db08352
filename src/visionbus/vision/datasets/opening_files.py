"""Opens a listing of image files: decodes them in the order of the splits, and divides what is intact."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.checks import Checks, check_broken
from visionbus.vision.datasets.choosing import Chooser, look_at, suitable_input
from visionbus.vision.datasets.dataset import Dataset
from visionbus.vision.datasets.decoding import Decoded, Decoding, decode
from visionbus.vision.datasets.holdout import Holdout
from visionbus.vision.datasets.listing import PARTS, File, Listing, Part
from visionbus.vision.datasets.opened import Split, TrainingData, divided
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input
from visionbus.vision.text import plain


@dataclass(frozen=True, eq=False)
class _Ordered:
    """Files of known classes, those of training first, then those of validation, then those of test."""

    files: list[File]
    classes: tuple[str, ...]
    sizes: dict[Part, int]
    notes: list[str]
    held_out: bool

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[file.label] for file in self.files], dtype=np.int64)


def open_files(
    listing: Listing,
    spec: Input | Chooser | None,
    classes: Sequence[str] | None,
    *,
    holdout: Holdout,
    checks: Checks,
    decoding: Decoding,
) -> TrainingData:
    """Decode the files of a listing, and divide them into splits.

    Raises:
        DatasetError: as `open_data` does.
    """
    ordered = _ordered(listing, classes, holdout)
    paths = [file.path for file in ordered.files]
    if not isinstance(spec, Input):
        spec = (spec or suitable_input)(look_at(paths))
    decoded = decode(paths, spec, decoding)
    broken = [ordered.files[number].broken(reason) for number, reason in sorted(decoded.broken.items())]
    skipped = (*listing.skipped, *broken)
    check_broken(listing.source, skipped, len(paths) + len(listing.skipped), checks.allow_broken)
    parts, trainval = _parts(ordered, decoded)
    data = TrainingData(
        plain(listing.name),
        spec,
        trainval,
        trainval=trainval,
        skipped=skipped,
        layout=listing.layout,
        notes=(*ordered.notes, *([decoded.note] if decoded.note else [])),
        held_out=ordered.held_out,
    )
    return divided(data, parts, keep_leaks=checks.keep_leaks, memory=decoding.memory)


def _ordered(listing: Listing, classes: Sequence[str] | None, holdout: Holdout) -> _Ordered:
    """Put the files of known classes into the order of the splits, a validation split that is made included."""
    known, notes = _classes(listing, classes)
    files = [file for part in PARTS for file in listing.files if file.part == part and file.label in known]
    sizes: dict[Part, int] = dict(Counter(file.part for file in files))
    ordered = _Ordered(files, known, sizes, [*listing.notes, *notes], held_out=False)
    if not holdout.wanted(sizes):
        return ordered
    count = sizes.get("train", 0)
    order, held, said = holdout.choose(ordered.labels[:count])
    files = [files[number] for number in order.tolist()] + files[count:]
    sizes = {**sizes, "train": count - held, "validation": held}
    return _Ordered(files, known, sizes, ordered.notes + said, held_out=held > 0)


def _classes(listing: Listing, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes, those given or those that training has, and what was left out."""
    learnt = {file.label for file in listing.files if file.part == "train"}
    numbers = listing.is_table and all(label.isdecimal() for label in learnt)
    known = tuple(classes or sorted(learnt, key=lambda label: (int(label) if numbers else 0, label)))
    unknown = sorted({file.label for file in listing.files} - set(known))
    if unknown and classes is not None:
        where = "labels" if listing.is_table else "subfolders"
        raise DatasetError(
            f"{listing.source} has the {where} {', '.join(unknown)}, which are not among the classes: "
            f"{', '.join(known)}; take them out, or take a model that knows them"
        )
    if not learnt and classes is None:
        raise DatasetError(
            f"{listing.source} has no training images: put them into a folder train, or mark them as train"
        )
    return known, [f"{name!r} has no training images, so its images are left out" for name in unknown]


def _parts(ordered: _Ordered, decoded: Decoded) -> tuple[dict[Part, Split], Dataset]:
    """Return each split as a view of what was decoded, and training and validation together."""
    owners = [part for part in PARTS for _ in range(ordered.sizes.get(part, 0))]
    intact = decoded.intact.tolist()
    left = Counter(owners[number] for number in intact)
    names = tuple(ordered.files[number].name for number in intact)
    whole = Dataset(decoded.images, ordered.labels[decoded.intact], ordered.classes, names)
    parts: dict[Part, Split] = {}
    start = 0
    for part in PARTS:
        end = start + left[part]
        parts[part] = Split(whole.subset(slice(start, end)), decoded.digests[start:end])
        start = end
    return parts, whole.subset(slice(left["train"] + left["validation"]))
