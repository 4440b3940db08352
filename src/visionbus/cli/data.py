"""`visionbus data`: looks at data before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

from visionbus.cli.hints import HintingGroup
from visionbus.cli.options import allow_broken_option, json_option, verbose_option
from visionbus.cli.output import one_line, print_json

if TYPE_CHECKING:
    from visionbus.vision.datasets import Checks, Columns, Dataset, Holdout, TrainingData


@click.group(cls=HintingGroup)
def data() -> None:
    """Look at data before anything is trained.

    \b
    Examples:
      visionbus data check ~/photos                 what is in it, what is broken, what leaks
    """  # noqa: D301 (click reads \b)


@data.command(short_help="Say what is in the data, what is broken, and what leaks.")
@click.argument("source", metavar="DATA")
@click.option("--path-column", metavar="NAME", show_default="guessed", help="The table's column of paths.")
@click.option("--label-column", metavar="NAME", show_default="guessed", help="The table's column of classes.")
@click.option("--split-column", metavar="NAME", show_default="guessed", help="The table's column of splits.")
@click.option(
    "--images",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    show_default="the table's folder",
    help="The folder that the table's paths start from.",
)
@allow_broken_option
@click.option("--keep-leaks", is_flag=True, help="Leave images that leak in validation and test.")
@click.option("--outside", is_flag=True, help="Read files outside of DATA's folder, too, where links lead there.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For the validation split.")
@click.option(
    "--sheets",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="NAME-sheets",
    help="Where the contact sheets are written.",
)
@json_option
@verbose_option
def check(  # noqa: PLR0913 (an argument per option)
    *,
    source: str,
    path_column: str | None,
    label_column: str | None,
    split_column: str | None,
    images: Path | None,
    allow_broken: float,
    keep_leaks: bool,
    outside: bool,
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
    from visionbus.vision.datasets import Checks, Columns, Holdout  # noqa: PLC0415 (--help does not wait for numpy)
    from visionbus.vision.datasets.contact import write_sheets  # noqa: PLC0415 (the same)

    columns = Columns(path_column, label_column, split_column, images)
    found = _open(source, columns, Checks(allow_broken, keep_leaks, outside), Holdout(seed=seed))
    written = list(write_sheets(found.trainval or found.train, sheets or Path(f"{found.name}-sheets")))
    if as_json:
        print_json(_document(found) | {"sheets": [str(path) for path in written]})
        return
    for line in (*_lines(found), *(f"sheet {path}" for path in written)):
        click.echo(one_line(line))


def _open(source: str, columns: Columns, checks: Checks, holdout: Holdout) -> TrainingData:
    """Open the data, with a bar on a terminal."""
    from visionbus.vision.datasets import Decoding, open_data  # noqa: PLC0415 (--help does not wait for numpy)

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("decoding", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        decoding = Decoding(progress=advance)
        return open_data(source, columns=columns, holdout=holdout, checks=checks, decoding=decoding)


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
    spec = found.input
    lines = [f"data {found.name}: {found.layout}"]
    lines.append(f"input {spec.height} x {spec.width} {spec.mode} {spec.fit}")
    for part, dataset in found.parts.items():
        counts = _counts(dataset)
        each = ", ".join(f"{name} {count}" for name, count in zip(dataset.classes, counts, strict=True))
        lines.append(f"{part} {len(dataset)} images: {each}")
        lines += [
            f"note: {name!r} has one image in {part}"
            for name, count in zip(dataset.classes, counts, strict=True)
            if count == 1
        ]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"skipped {one.name}: {one.reason}" for one in found.skipped]
    for leak in found.leaks:
        kind = " and ".join(
            word for word, is_so in (("splits", leak.across_splits), ("labels", leak.across_labels)) if is_so
        )
        lines.append(
            f"same pixels in different {kind}: " + ", ".join(f"{p.name} ({p.part}, {p.label})" for p in leak.places)
        )
    return [*lines, f"skipped {len(found.skipped)} files, found {len(found.leaks)} leaks"]
