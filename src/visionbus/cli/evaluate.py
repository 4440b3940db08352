"""`visionbus evaluate`: measures a model file on a data set, without a bus, and writes the report about it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.errors import Failure
from visionbus.cli.options import data_options, json_option, verbose_option
from visionbus.cli.output import decoding, print_json

if TYPE_CHECKING:
    from visionbus.vision import Evaluation
    from visionbus.vision.datasets import Checks, Columns
    from visionbus.vision.onnx import OnnxModel

_SHIPPED = "fashion-mnist.onnx"


@click.command(short_help="Measure a model on a data set, and report on it.")
@click.argument("words", metavar="[MODEL] DATA", nargs=-1, required=True)
@click.option(
    "--report",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Write a report, one HTML file; by default with the name of the model and .html.",
)
@click.option("--overwrite", is_flag=True, help="Replace the report where it exists.")
@data_options
@json_option
@verbose_option
def evaluate(
    *,
    words: tuple[str, ...],
    report: str | None,
    overwrite: bool,
    columns: Columns,
    checks: Checks,
    as_json: bool,
) -> None:
    """Measure the model file MODEL, by default the shipped one, on DATA: accuracy, per-class figures, calibration.

    DATA is fashion-mnist (its 10,000 test images), a folder with one subfolder of images per class, or any other data
    that `visionbus data check` takes; of its splits test is measured, or else validation, or else all images. Files
    that cannot be read are reported on stderr and left out.

    \b
    Examples:
      visionbus evaluate fashion-mnist                        the shipped model
      visionbus evaluate model.onnx fashion-mnist
      visionbus evaluate photos.onnx ~/more-photos --json
      visionbus evaluate photos.onnx ~/more-photos --report more.html
    """  # noqa: D301 (click reads \b)
    from visionbus import vision  # noqa: PLC0415 (--help does not wait for numpy)
    from visionbus.vision.datasets import load_evaluation_data  # noqa: PLC0415 (the same)
    from visionbus.vision.datasets.words import option_words  # noqa: PLC0415 (the same)
    from visionbus.vision.onnx import OnnxModel, default_model  # noqa: PLC0415 (the same)

    *model, data = words
    if len(model) > 1:
        raise click.UsageError(f"{len(words)} arguments: name a model file and the data, or the data alone")
    if data.endswith(".onnx"):
        raise click.UsageError(
            f"no DATA to measure {data} on: name fashion-mnist, or a folder of images, after the model"
        )
    page = _page(report, model[0] if model else _SHIPPED, overwrite=overwrite) if report is not None else None
    loaded = OnnxModel(Path(model[0]) if model else default_model())
    if page:
        command = shlex.join(["visionbus", "evaluate", *words, *option_words(columns, checks), "--report", str(page)])
        found = _write(page, loaded, data, columns, checks, command=command)
    else:
        with decoding() as shown:
            measured = load_evaluation_data(loaded, data, columns=columns, checks=checks, decoding=shown)
        found = vision.evaluate(loaded, measured)
    if as_json:
        written = {"report": str(page)} if page else {}
        print_json({**found.to_json(), "model": {"name": loaded.name, "version": loaded.version}, **written})
        return
    _print(found)
    if page:
        click.echo(f"report {page}")


def _page(named: str, model: str, *, overwrite: bool) -> Path:
    """Return where the report is written, which must not hold anything else."""
    path = Path(named) if named else Path(model).with_suffix(".html")
    if path.suffix.lower() not in {".html", ".htm"}:
        raise click.UsageError(f"the report must end in .html, not {named!r}: name it so, or put --report at the end")
    if path.exists() and not overwrite:
        raise Failure(f"{path} exists: name another file by --report FILE, or replace it with --overwrite")
    if not path.parent.is_dir():
        raise Failure(f"there is no folder {path.parent} for the report: make it, or name another file")
    return path


def _write(page: Path, model: OnnxModel, source: str, columns: Columns, checks: Checks, *, command: str) -> Evaluation:
    """Measure the model and write the report."""
    from visionbus.vision.datasets import open_evaluation_data  # noqa: PLC0415 (--help does not wait for numpy)
    from visionbus.vision.report import Measured, write_report  # noqa: PLC0415 (the same)

    with decoding() as shown:
        data = open_evaluation_data(model, source, columns=columns, checks=checks, decoding=shown)
    measured = Measured.by(model, data)
    write_report(page, model, data, measured, command=command)
    return measured.evaluation


def _print(found: Evaluation) -> None:
    """Print one fact a line."""
    low, high = found.interval
    click.echo(f"accuracy {found.accuracy:.4f} 95% interval {low:.4f} {high:.4f}")
    click.echo(f"images {found.images}")
    click.echo(f"calibration error {found.calibration.error:.4f}")
    for name, figures in found.per_class.items():
        click.echo(
            f"class {name!r} precision {figures.precision:.4f} recall {figures.recall:.4f} f1 {figures.f1:.4f} "
            f"images {figures.support}"
        )
