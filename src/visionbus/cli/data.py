"""`visionbus data`: looks at data before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.errors import Failure
from visionbus.cli.hints import HintingGroup
from visionbus.cli.options import data_options, json_option, verbose_option
from visionbus.cli.output import decoding, one_line, print_json

if TYPE_CHECKING:
    from visionbus.vision.datasets import Checks, Columns, Dataset, Holdout, Leak, TrainingData

_MOST = 20  # classes, sheets and places of a leak that are named; --json names all


@click.group(cls=HintingGroup)
def data() -> None:
    """Look at data before anything is trained.

    \b
    Examples:
      visionbus data check ~/photos                 what is in it, what is broken, what leaks
    """  # noqa: D301 (click reads \b)


@data.command(short_help="Say what is in the data, what is broken, and what leaks.")
@click.argument("source", metavar="DATA")
@data_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For the validation split.")
@click.option(
    "--sheets",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="NAME-sheets, not in DATA",
    help="Where the contact sheets are written.",
)
@json_option
@verbose_option
def check(
    *,
    source: str,
    columns: Columns,
    checks: Checks,
    seed: int,
    sheets: Path | None,
    as_json: bool,
) -> None:
    """Say what is in DATA, what of it is broken, and which images leak; write a contact sheet per class.

    DATA is fashion-mnist; a folder with a folder per class, alone or under train, validation and test; a .csv, .tsv or
    .parquet file of paths and labels; an .npz file; or IDX files.

    \b
    Examples:
      visionbus data check ~/photos
      visionbus data check labels.csv --images ~/photos --label-column species
      visionbus data check fashion-mnist --json
    """  # noqa: D301 (click reads \b)
    from visionbus.vision.datasets import Holdout  # noqa: PLC0415 (--help does not wait for numpy)

    if sheets and _is_in(sheets, Path(source)):
        raise Failure(f"{sheets} lies in {source}, and its sheets would be taken for a class: name another folder")
    found = _open(source, columns, checks, Holdout(seed=seed))
    folder = Path(f"{found.name}-sheets")
    if _is_in(folder, Path(source)):
        folder = Path(source).resolve().parent / folder
    _print(found, sheets or folder, as_json=as_json)


def _is_in(folder: Path, data: Path) -> bool:
    """Tell whether a folder lies in that of the data."""
    return data.is_dir() and folder.resolve().is_relative_to(data.resolve())


def _open(source: str, columns: Columns, checks: Checks, holdout: Holdout) -> TrainingData:
    """Open the data, with a bar on a terminal."""
    from visionbus.vision.datasets import open_data  # noqa: PLC0415 (--help does not wait for numpy)

    with decoding() as shown:
        return open_data(source, columns=columns, holdout=holdout, checks=checks, decoding=shown)


def _print(found: TrainingData, folder: Path, *, as_json: bool) -> None:
    """Write the contact sheets, and say all that was found."""
    from visionbus.vision.datasets.contact import write_sheets  # noqa: PLC0415 (--help does not wait for numpy)

    sheets = [str(path) for path in write_sheets(found.trainval or found.train, folder)]
    if as_json:
        print_json(_document(found) | {"sheets": sheets})
        return
    lines = [*_lines(found), *(f"sheet {path}" for path in sheets[:_MOST])]
    if len(sheets) > _MOST:
        lines.append(f"and {len(sheets) - _MOST} more sheets in {folder}")
    for line in lines:
        click.echo(one_line(line))


def _document(found: TrainingData) -> dict[str, object]:
    return {
        "name": found.name,
        "layout": found.layout,
        "input": found.input.to_json(),
        "splits": {
            part: dict(zip(dataset.classes, _counts(dataset), strict=True)) for part, dataset in found.parts.items()
        },
        "skipped": [{"name": one.name, "reason": one.reason} for one in found.skipped],
        "leaks": [
            [{"split": place.part, "label": place.label, "name": place.name} for place in leak.places]
            for leak in found.leaks
        ],
        "notes": list(found.notes),
    }


def _counts(dataset: Dataset) -> list[int]:
    """Return how many images each class has."""
    return [int((dataset.labels == label).sum()) for label in range(len(dataset.classes))]


def _lines(found: TrainingData) -> list[str]:
    """Say one fact a line."""
    from visionbus.vision.text import count  # noqa: PLC0415 (--help does not wait for numpy)

    spec = found.input
    return [
        f"data {found.name}: {found.layout}",
        f"input {spec.height} x {spec.width} {spec.mode} {spec.fit}",
        *(line for part, dataset in found.parts.items() for line in _split_lines(part, dataset)),
        *(f"note: {note}" for note in found.notes),
        *(f"skipped {one.name}: {one.reason}" for one in found.skipped),
        *map(_leak_line, found.leaks),
        f"skipped {count(len(found.skipped), 'file')}, found {count(len(found.leaks), 'leak')}",
    ]


def _split_lines(part: str, dataset: Dataset) -> list[str]:
    """Say how many images a split has of each class, of the first ones if there are many."""
    from visionbus.vision.text import count  # noqa: PLC0415 (--help does not wait for numpy)

    counts = dict(zip(dataset.classes, _counts(dataset), strict=True))
    each = [f"{name} {number}" for name, number in counts.items()]
    if len(each) > _MOST:
        smallest, largest = min(counts.values()), max(counts.values())
        each[_MOST:] = [f"and {len(each) - _MOST} more classes, {smallest} to {largest} images in each of all"]
    single = [name for name, number in counts.items() if number == 1]
    notes = [f"note: {name!r} has one image in {part}" for name in single[:_MOST]]
    if len(single) > _MOST:
        notes.append(f"note: {len(single) - _MOST} more classes have one image in {part}")
    return [f"{part} {count(len(dataset), 'image')}: {', '.join(each)}", *notes]


def _leak_line(leak: Leak) -> str:
    kinds = [word for word, is_so in (("splits", leak.across_splits), ("labels", leak.across_labels)) if is_so]
    places = [f"{place.name} ({place.part}, {place.label})" for place in leak.places[:_MOST]]
    if len(leak.places) > _MOST:
        places.append(f"and {len(leak.places) - _MOST} more")
    return f"same pixels in different {' and '.join(kinds)}: {', '.join(places)}"
