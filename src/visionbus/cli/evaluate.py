"""`visionbus evaluate`: measures a model file on a data set, without a bus."""

from __future__ import annotations

from pathlib import Path

import click

from visionbus.cli.options import allow_broken_option, json_option, verbose_option
from visionbus.cli.output import print_json


@click.command(short_help="Measure a model on a data set.")
@click.argument("words", metavar="[MODEL] DATA", nargs=-1, required=True)
@allow_broken_option
@json_option
@verbose_option
def evaluate(*, words: tuple[str, ...], allow_broken: float, as_json: bool) -> None:
    """Measure the model file MODEL, by default the shipped one, on DATA: accuracy, per-class figures, calibration.

    DATA is fashion-mnist (its 10,000 test images), or a folder with one subfolder of images per class. Files that
    cannot be read are reported on stderr and left out.

    \b
    Examples:
      visionbus evaluate fashion-mnist                        the shipped model
      visionbus evaluate model.onnx fashion-mnist
      visionbus evaluate photos.onnx ~/more-photos --json
    """  # noqa: D301 (click reads \b)
    from visionbus import vision  # noqa: PLC0415 (--help does not wait for numpy)
    from visionbus.vision.datasets import Checks, load_evaluation_data  # noqa: PLC0415 (the same)
    from visionbus.vision.onnx import OnnxModel, default_model  # noqa: PLC0415 (the same)

    *model, data = words
    if len(model) > 1:
        raise click.UsageError(f"{len(words)} arguments: name a model file and the data, or the data alone")
    if data.endswith(".onnx"):
        raise click.UsageError(f"no DATA to measure {data} on: name fashion-mnist, or a folder of images")
    loaded = OnnxModel(Path(model[0]) if model else default_model())
    found = vision.evaluate(loaded, load_evaluation_data(loaded, data, checks=Checks(allow_broken)))
    if as_json:
        print_json(found.to_json() | {"model": {"name": loaded.name, "version": loaded.version}})
        return
    click.echo(f"accuracy {found.accuracy:.4f}")
    click.echo(f"images {found.images}")
    click.echo(f"calibration error {found.calibration.error:.4f}")
    for name, figures in found.per_class.items():
        click.echo(
            f"class {name!r} precision {figures.precision:.4f} recall {figures.recall:.4f} f1 {figures.f1:.4f} "
            f"images {figures.support}"
        )
