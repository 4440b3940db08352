"""Opens data, whatever its layout, as the splits of a training."""

from collections.abc import Sequence
from pathlib import Path

from visionbus.vision.datasets.array_sources import FASHION_MNIST, Source, read_arrays, take_arrays
from visionbus.vision.datasets.checks import Checks, check_classes
from visionbus.vision.datasets.choosing import Chooser
from visionbus.vision.datasets.decoding import Decoding
from visionbus.vision.datasets.folders import list_folder
from visionbus.vision.datasets.holdout import Holdout
from visionbus.vision.datasets.idx_pairs import find_pairs
from visionbus.vision.datasets.listing import Listing
from visionbus.vision.datasets.opened import TrainingData
from visionbus.vision.datasets.opening_arrays import open_arrays
from visionbus.vision.datasets.opening_files import open_files
from visionbus.vision.datasets.paths import TABLES
from visionbus.vision.datasets.tables import Columns, are_given, list_table
from visionbus.vision.errors import DatasetError
from visionbus.vision.images import Input


def open_data(
    source: Source,
    spec: Input | Chooser | None = None,
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
        spec: what image files are fitted to, or a function that chooses it, in a stream by the first one; by default
            what suits the files of a folder or table. Arrays stay as they are.
        classes: the names of the classes and their order; by default what is found, sorted.
        columns: which columns of a table mean what.
        holdout: the validation split that is made where none is given.
        checks: what is let pass.
        decoding: how image files are decoded, where the result is kept, and how much may be in memory.

    Raises:
        DatasetError: if it is none of these, cannot be read, too much of it is broken, or (without `classes`) it has
            images of fewer than two classes.
        ImportError: if it is a Parquet file and pyarrow is missing.
    """
    checks, holdout, decoding = checks or Checks(), holdout or Holdout(), decoding or Decoding()
    path = Path(source) if isinstance(source, str | Path) and source != FASHION_MNIST else None
    if are_given(columns) and not (path and path.suffix.lower() in TABLES):
        raise DatasetError(
            "columns, and the folder of a table's images, are for .csv, .tsv and .parquet: leave them out"
        )
    listing = _listing(path, columns, links_out=checks.outside) if path else None
    if listing:
        data = open_files(listing, spec, classes, holdout=holdout, checks=checks, decoding=decoding)
    else:
        arrays = read_arrays(path) if path else take_arrays(source, spec, decoding.memory)
        data = open_arrays(arrays, classes, holdout=holdout, checks=checks, memory=decoding.memory)
    if classes is None:
        check_classes(data)
    return data


def _listing(path: Path, columns: Columns | None, *, links_out: bool) -> Listing | None:
    """List the files of a folder or table of image files; None if it is something else."""
    if path.is_dir() and not find_pairs(path):
        return list_folder(path, links_out=links_out)
    if path.suffix.lower() in TABLES and path.is_file():
        return list_table(path, columns, links_out=links_out)
    return None
