"""Opens data, whatever its layout, as the splits of a training."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.arrays import classes_of, images_from, indices, label_names
from visionbus.vision.datasets.choosing import suitable_input
from visionbus.vision.datasets.dataset import Dataset, stratified
from visionbus.vision.datasets.decoding import Decoding, decode
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.folders import list_folder
from visionbus.vision.datasets.idx_pairs import find_pairs, is_idx, read_pairs
from visionbus.vision.datasets.leaks import digests
from visionbus.vision.datasets.listing import PARTS, File, Listing, Part, Skipped
from visionbus.vision.datasets.npz import read_npz
from visionbus.vision.datasets.opened import TrainingData, divided
from visionbus.vision.datasets.streams import ArrayData, ImageStream, collect
from visionbus.vision.datasets.tables import Columns, list_table
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input

FASHION_MNIST = "fashion-mnist"
TABLES = {".csv", ".tsv", ".parquet"}
_FIRST = 3  # broken files that an error names

Source = str | Path | Dataset | ArrayData | ImageStream | tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class Checks:
    """What is let pass.

    Attributes:
        allow_broken: the share of files that may be broken, 0 to 1.
        keep_leaks: whether images stay in validation and test whose pixels training has, too, or that have two labels.
        outside: whether links and tables may lead to files outside of the data's folder.
    """

    allow_broken: float = 0.1
    keep_leaks: bool = False
    outside: bool = False


@dataclass(frozen=True)
class Holdout:
    """The validation split that is made where none is given.

    Attributes:
        fraction: of each class, above 0 and below 1; 0 makes none.
        seed: the same seed gives the same split.
    """

    fraction: float = 0.1
    seed: int = 0


def open_data(
    source: Source,
    spec: Input | None = None,
    *,
    classes: Sequence[str] | None = None,
    columns: Columns | None = None,
    holdout: Holdout | None = None,
    checks: Checks | None = None,
    decoding: Decoding | None = None,
) -> TrainingData:
    """Open any data, and say what was found.

    Args:
        source: "fashion-mnist"; a folder with a folder per class, alone or under train, validation and test; a CSV, TSV
            or Parquet file of paths and labels; an .npz file; an IDX file or a folder of them; a `Dataset`; a pair of
            arrays; any `ArrayData`, or `ImageStream` of (image, label).
        spec: what image files are fitted to; by default what suits them. Arrays stay as they are.
        classes: the names of the classes and their order; by default what is found, sorted.
        columns: which columns of a table mean what.
        holdout: the validation split that is made where none is given.
        checks: what is let pass.
        decoding: how image files are decoded, and where the result is kept.

    Raises:
        DatasetError: if it is none of these, cannot be read, too much of it is broken, or (without `classes`) it has
            images of fewer than two classes.
        ImportError: if it is a Parquet file and pyarrow is missing.
    """
    checks, holdout, decoding = checks or Checks(), holdout or Holdout(), decoding or Decoding()
    if isinstance(source, str | Path) and source != FASHION_MNIST:
        path = Path(source)
        if path.is_dir() and not find_pairs(path):
            listing = list_folder(path, links_out=checks.outside)
        elif path.suffix.lower() in TABLES and path.is_file():
            listing = list_table(path, columns, links_out=checks.outside)
        else:
            return _check_classes(_from_arrays(_read(path), classes, holdout, checks), classes)
        return _check_classes(_from_files(path, listing, spec, classes, (holdout, checks, decoding)), classes)
    return _check_classes(_from_arrays(_given(source, spec, decoding), classes, holdout, checks), classes)


@dataclass(frozen=True, eq=False)
class _Arrays:
    name: str
    layout: str
    parts: Mapping[Part, tuple[npt.ArrayLike, npt.ArrayLike]]
    classes: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def _read(path: Path) -> _Arrays:
    """Read a file of arrays, or a folder of IDX files."""
    if path.suffix.lower() == ".npz" and path.is_file():
        parts, classes, notes = read_npz(path)
        return _Arrays(path.stem, ".npz arrays", parts, classes, tuple(notes))
    if path.is_dir() or is_idx(path):
        return _Arrays(path.name.partition(".")[0], "IDX files", read_pairs(path))
    raise DatasetError(
        f"{path} is not a folder: name {FASHION_MNIST}, or a folder with one subfolder per class, "
        "or a .csv, .tsv, .parquet, .npz or IDX file"
    )


def _given(source: Source, spec: Input | None, decoding: Decoding) -> _Arrays:
    if source == FASHION_MNIST:
        train, test = fashion_mnist("train"), fashion_mnist("test")
        pairs: dict[Part, tuple[npt.ArrayLike, npt.ArrayLike]] = {
            "train": (train.images, train.labels),
            "test": (test.images, test.labels),
        }
        return _Arrays(FASHION_MNIST, "Fashion-MNIST", pairs, train.classes)
    if isinstance(source, tuple) and len(source) == 2:
        return _Arrays("arrays", "arrays", {"train": source})
    if isinstance(source, ArrayData):
        names = tuple(getattr(source, "names", ()))
        return _Arrays(
            "arrays", "arrays", {"train": (source.images, source.labels)}, getattr(source, "classes", None), (), names
        )
    if isinstance(source, ImageStream):
        images, labels = collect(source, spec, decoding.memory)
        return _Arrays("stream", "a stream of images", {"train": (images, labels)}, getattr(source, "classes", None))
    raise DatasetError(f"{type(source).__name__} is no data: give a path, arrays, or an iterable of (image, label)")


def _from_arrays(found: _Arrays, classes: Sequence[str] | None, holdout: Holdout, checks: Checks) -> TrainingData:
    """Bring arrays into one shape and order."""
    notes, images, labels = list(found.notes), {}, {}
    for part in (part for part in PARTS if part in found.parts):
        given = found.parts[part]
        images[part], said = images_from(given[0], f"{found.name} ({part} images)")
        labels[part] = label_names(given[1], len(images[part]), f"{found.name} ({part} labels)")
        notes += said
    if len({array.shape[1:] for array in images.values()}) > 1:
        raise DatasetError(
            f"{found.name} has splits of different shapes: {', '.join(str(a.shape) for a in images.values())}"
        )
    every = [label for part in labels.values() for label in part]
    named = found.classes if classes is None else classes
    known = classes_of(every, named, found.name)
    numbers = indices(every, known, named=named is not None)
    sizes = {part: len(array) for part, array in images.items()}
    pixels = next(iter(images.values())) if len(images) == 1 else np.concatenate(list(images.values()))
    whole = Dataset(pixels, numbers, known, found.names)
    given = "validation" in sizes
    if not given and holdout.fraction:
        order, sizes, said = _hold_out(numbers, sizes, holdout)
        whole = whole.subset(order)
        notes += said
    height, width, channels = whole.images.shape[1:]
    data = TrainingData(
        found.name,
        Input(height, width, "L" if channels == 1 else "RGB"),
        whole,
        layout=found.layout,
        notes=tuple(notes),
        held_out=not given and "validation" in sizes,
    )
    return divided(data, sizes, digests(whole.images), keep_leaks=checks.keep_leaks)


def _hold_out(
    labels: np.ndarray[tuple[int], np.dtype[np.int64]], sizes: dict[Part, int], holdout: Holdout
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], dict[Part, int], list[str]]:
    """Return an order in which validation images stand behind the other ones of training, and say so."""
    count = sizes.get("train", 0)
    chosen = stratified(labels[:count], holdout.fraction, holdout.seed)
    order = np.concatenate([np.flatnonzero(~chosen), np.flatnonzero(chosen), np.arange(count, len(labels))])
    held = int(chosen.sum())
    said = (
        f"no validation split is given: {held} images, {holdout.fraction:g} of each class, are held out of training "
        f"(seed {holdout.seed})"
    )
    return order, {**sizes, "train": count - held, "validation": held}, [said] if held else []


def _from_files(
    path: Path,
    listing: Listing,
    spec: Input | None,
    classes: Sequence[str] | None,
    options: tuple[Holdout, Checks, Decoding],
) -> TrainingData:
    """Decode the files of a listing, in the order of the splits."""
    holdout, checks, decoding = options
    files, known, skipped, notes = _labelled(path, listing, classes)
    ordered = [file for part in PARTS for file in files if file.part == part]
    sizes: dict[Part, int] = dict(Counter(file.part for file in ordered))
    place = {name: number for number, name in enumerate(known)}
    given = "validation" in sizes
    if not given and holdout.fraction:
        order, sizes, said = _hold_out(np.array([place[file.label] for file in ordered], np.int64), sizes, holdout)
        ordered, notes = [ordered[number] for number in order.tolist()], [*notes, *said]
    spec = spec or suitable_input([file.path for file in ordered])
    decoded = decode([file.path for file in ordered], spec, decoding)
    skipped += [Skipped(ordered[number].name, reason) for number, reason in sorted(decoded.broken.items())]
    _check_broken(path, skipped, len(files) + len(skipped) - len(decoded.broken), checks.allow_broken)
    intact = [ordered[number] for number in decoded.intact.tolist()]
    owners = [part for part in PARTS for _ in range(sizes.get(part, 0))]
    sizes = dict(Counter(owners[number] for number in decoded.intact.tolist()))
    labels = np.array([place[file.label] for file in intact], dtype=np.int64)
    notes += [decoded.note] if decoded.note else []
    whole = Dataset(decoded.images, labels, known, tuple(file.name for file in intact))
    data = TrainingData(
        path.resolve().name if path.is_dir() else path.stem,
        spec,
        whole,
        skipped=tuple(skipped),
        layout=listing.layout,
        notes=tuple(notes),
        held_out=not given and "validation" in sizes,
    )
    return divided(data, sizes, decoded.digests, keep_leaks=checks.keep_leaks)


def _labelled(
    path: Path, listing: Listing, classes: Sequence[str] | None
) -> tuple[list[File], tuple[str, ...], list[Skipped], list[str]]:
    """Return the files of known classes, the classes, and what was left out."""
    learnt = {file.label for file in listing.files if file.part == "train"}
    numbers = all(label.isdecimal() for label in learnt) and not path.is_dir()
    known = tuple(classes or sorted(learnt, key=lambda label: (int(label) if numbers else 0, label)))
    unknown = sorted({file.label for file in listing.files} - set(known))
    if unknown and classes is not None:
        where = "subfolders" if path.is_dir() else "labels"
        raise DatasetError(
            f"{path} has the {where} {', '.join(unknown)}, which are not among the classes: {', '.join(known)}"
        )
    if not learnt and classes is None:
        raise DatasetError(f"{path} has no training images: put them into a folder train, or mark them as train")
    files = [file for file in listing.files if file.label in known]
    notes = [f"{name!r} has no training images, so its images are left out" for name in unknown]
    return files, known, list(listing.skipped), [*listing.notes, *notes]


def _check_broken(path: Path, skipped: list[Skipped], count: int, allowed: float) -> None:
    if len(skipped) > allowed * count:
        listed = "; ".join(f"{one.name}: {one.reason}" for one in skipped[:_FIRST])
        share = min(np.ceil(100 * len(skipped) / count) / 100, 1.0)
        raise DatasetError(
            f"{len(skipped)} of {count} files in {os.fspath(path)} are broken, more than {allowed:g} of them "
            f"({listed}): mend or remove them, or go on without them by --allow-broken {share:g}"
        )


def _check_classes(data: TrainingData, classes: Sequence[str] | None) -> TrainingData:
    present = [data.train.classes[label] for label in np.unique(data.train.labels)]
    if classes is None and len(present) < 2:
        only = f"one class only, {present[0]!r}" if present else "no class"
        raise DatasetError(
            f"{data.name} has images of {only}: give images of at least two (in a folder, one subfolder per class)"
        )
    return data
