"""Lists the images that a CSV, TSV or Parquet file names with their labels."""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from visionbus.vision.datasets.listing import PART_NAMES, File, Listing, Skipped, in_row
from visionbus.vision.datasets.paths import forget_folders, objection
from visionbus.vision.errors import DatasetError
from visionbus.vision.files import open_regular

_MAX_LINE = 2**20  # characters
_MAX_BYTES = 2**30
_AT_ONCE = 256  # rows of Parquet that are unpacked at a time
_SAMPLE = 20
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
_GUESSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "id"),
        "label": ("label", "labels", "class", "class_name", "category", "target", "y", "species", "breed"),
        "split": ("split", "set", "part", "subset", "partition"),
    }
)
Row = Sequence[object]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what.

    Attributes:
        path: the column of the images' paths; by default guessed from its name.
        label: the column of the classes; by default guessed from its name.
        split: the column of train, validation or test; by default guessed, and there need not be one.
        folder: what the paths start from, and must lie within; by default the table's folder.
    """

    path: str | None = None
    label: str | None = None
    split: str | None = None
    folder: Path | None = None


def are_given(columns: Columns | None) -> bool:
    """Tell whether anything is said of columns."""
    return columns not in {None, Columns()}


def list_table(table: Path, columns: Columns | None = None, *, links_out: bool = False) -> Listing:
    """List the images that a table names; rows that cannot be used are skipped, each with its reason.

    Raises:
        DatasetError: if the table cannot be read, a column is missing, or no row names an image.
        ImportError: if it is a Parquet file and pyarrow is missing.
    """
    forget_folders()
    columns = columns or Columns()
    folder = columns.folder or table.parent
    rows: Iterable[tuple[int, Row]]
    if table.suffix.lower() == ".parquet":
        (header, rows), kind = _parquet(table), "Parquet"
    else:
        ((number, header), *rows), kind = _csv(table), "CSV"
        if _is_headless(header, columns, folder):
            rows, kind, header = [(number, header), *rows], "CSV without a header,", ["column 1", "column 2"]
            columns = replace(columns, path=header[0], label=header[1])
    places = {meaning: _place(header, meaning, getattr(columns, meaning), table) for meaning in _GUESSES}
    files, skipped = _files(rows, places, folder, links_out=links_out)
    if not files:
        first = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise DatasetError(
            f"{table} names no image that can be used{first}: give the folder that its paths start from with --images"
        )
    named = ", ".join(f"{meaning} in {header[place]!r}" for meaning, place in places.items() if place is not None)
    return Listing(table, f"{kind} with {named}", tuple(files), tuple(skipped))


def _is_headless(first: Sequence[str], columns: Columns, folder: Path) -> bool:
    """Return whether the first row is an image's already: no column is named, and its first cell names a file."""
    if columns != Columns(folder=columns.folder) or len(first) < 2:
        return False
    name = first[0].strip()
    return Path(name).suffix.lower() in _SUFFIXES or os.path.isfile(folder / name)  # noqa: PTH113 (of any text)


def _files(
    rows: Iterable[tuple[int, Row]], places: Mapping[str, int | None], folder: Path, *, links_out: bool
) -> tuple[list[File], list[Skipped]]:
    """Return the images that numbered rows name, and what cannot be used."""
    files: list[File] = []
    skipped: list[Skipped] = []
    root = Path(os.path.realpath(folder))
    for number, row in rows:
        found = _file(row, places, folder, root, links_out=links_out)
        if isinstance(found, File):
            files.append(replace(found, row=number))
        else:
            skipped.append(Skipped(in_row(number, found.name), found.reason))
    return files, skipped


def _place(header: Sequence[str], kind: str, given: str | None, table: Path) -> int | None:
    """Return which column is meant; None for a split that there is not."""
    if given is not None:
        if given not in header:
            raise DatasetError(f"{table} has no column {given!r}; it has {', '.join(map(repr, header))}")
        return header.index(given)
    plain = [name.strip().lower() for name in header]
    for guess in _GUESSES[kind]:
        if guess in plain:
            return plain.index(guess)
    if kind == "split":
        return None
    raise DatasetError(
        f"{table} has the columns {', '.join(map(repr, header[:_SAMPLE]))}, and none is known as the {kind}: "
        f"name it with --{kind}-column"
    )


def _file(row: Row, places: Mapping[str, int | None], folder: Path, root: Path, *, links_out: bool) -> File | Skipped:
    given = {kind: row[place] if place is not None and place < len(row) else None for kind, place in places.items()}
    if odd := [kind for kind, cell in given.items() if isinstance(cell, bytes | dict | list)]:
        return Skipped(f"its {odd[0]}", "it is no text: write the images to files, and give their paths")
    cells = {kind: _text(cell) for kind, cell in given.items()}
    name, label = cells["path"], cells["label"]
    if not name:
        return Skipped("no path", "the row names no file: give it a path, or remove it")
    if not label:
        return Skipped(name, "the row has no label: give it one, or remove it")
    part = PART_NAMES.get(cells["split"].lower()) if places["split"] is not None else "train"
    if part is None:
        return Skipped(name, f"{cells['split']!r} is no split: write train, validation or test")
    path = folder / name
    reason = objection(path, root, links_out=links_out)
    return File(path, name, label, part) if reason is None else Skipped(name, reason)


def _text(cell: object) -> str:
    """Return a cell as text; missing numbers are empty, whole ones have no point."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _csv(table: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with its number, from 1 on."""
    try:
        with open_regular(table) as binary:
            size = os.fstat(binary.fileno()).st_size
        if size > _MAX_BYTES:
            raise DatasetError(f"{table} has {size} bytes, more than {_MAX_BYTES}: split it")
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(_MAX_LINE)
            file.seek(0)
            delimiter = max("\t;|,", key=first.count)
            rows = [one for one in enumerate(csv.reader(_lines(file, table), delimiter=delimiter), 1) if one[1]]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(
            f"{table} is not a usable CSV file ({error}): look for a quote that is not closed"
        ) from error
    except OSError as error:
        raise DatasetError(f"cannot read {table}: {error.strerror}") from error
    if not rows:
        raise DatasetError(f"{table} is empty: give it a line of column names, and a row per image")
    return rows


def _lines(file: TextIO, table: Path) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise DatasetError(f"{table} has a line of {_MAX_LINE} characters or more: it is no table of images")
        yield line


def _parquet(table: Path) -> tuple[list[str], Iterable[tuple[int, Row]]]:
    """Return the names of the columns, and the rows, each with its number, from 1 on."""
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 (an extra)
    except ImportError as error:
        message = "reading Parquet needs pyarrow: python -m pip install 'visionbus[parquet]'"
        raise ImportError(message, name="pyarrow") from error
    try:
        with open_regular(table) as binary:
            document = parquet.ParquetFile(binary)
            rows: list[Row] = []
            unpacked = 0  # bytes, as they are in memory: a text of many rows may be packed once
            for batch in document.iter_batches(_AT_ONCE):
                columns = [one.dictionary_decode() if hasattr(one, "indices") else one for one in batch.columns]
                unpacked += sum(one.nbytes for one in columns)
                if unpacked > _MAX_BYTES:
                    raise DatasetError(f"{table} unpacks to more than {_MAX_BYTES} bytes: leave out the pixels")
                rows += zip(*(one.to_pylist() for one in columns), strict=True)
    except (OSError, ArrowException) as error:
        raise DatasetError(f"{table} is not a usable Parquet file ({error}): write it again") from error
    return document.schema_arrow.names, enumerate(rows, 1)
