"""`visionbus evaluate` and `visionbus predict`: a model file and images, without a bus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.errors import FAILED
from visionbus.cli.options import json_option, verbose_option

if TYPE_CHECKING:
    from visionbus.vision.onnx import OnnxModel

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Measure a model on a data set.")
@click.argument("model", type=_FILE)
@click.argument("data")
@json_option
@verbose_option
def evaluate(*, model: Path, data: str, as_json: bool) -> None:
    """Measure the model file MODEL on DATA: accuracy, each class, calibration.

    DATA is fashion-mnist (its 10,000 test images), or a folder that holds a folder of images for each class. The files
    that cannot be read are named on stderr and left out.

    \b
    Examples:
      visionbus evaluate model.onnx fashion-mnist
      visionbus evaluate photos.onnx ~/more-photos --json
    """  # noqa: D301 (click reads \b)
    from visionbus import vision  # noqa: PLC0415 (start-up does not wait for numpy)
    from visionbus.vision.datasets import open_for  # noqa: PLC0415
    from visionbus.vision.onnx import OnnxModel  # noqa: PLC0415

    loaded = OnnxModel(model)
    found = vision.evaluate(loaded, open_for(loaded, data))
    if as_json:
        named = {"model": {"name": loaded.name, "version": loaded.version}}
        click.echo(json.dumps(found.to_json() | named, ensure_ascii=False))
        return
    click.echo(f"accuracy {found.accuracy:.4f}")
    click.echo(f"images {found.images}")
    click.echo(f"calibration error {found.calibration.error:.4f}")
    for name, figures in found.per_class.items():
        click.echo(
            f"class {name!r} precision {figures.precision:.4f} recall {figures.recall:.4f} f1 {figures.f1:.4f} "
            f"images {figures.support}"
        )


@click.command(short_help="Classify image files, without a bus.")
@click.argument("paths", metavar="[MODEL] IMAGE...", nargs=-1, required=True, type=_FILE)
@json_option
@verbose_option
def predict(*, paths: tuple[Path, ...], as_json: bool) -> int:
    """Classify each IMAGE with the model file MODEL, which ends in .onnx; by default with the shipped one.

    A file that is no sound image is named on stderr, the others are answered, and the exit status is 1.

    \b
    Examples:
      visionbus predict shoe.png bag.jpg
      visionbus predict photos.onnx ~/more-photos/*.jpg --json
    """  # noqa: D301 (click reads \b)
    from visionbus.vision.onnx import OnnxModel, default_model  # noqa: PLC0415 (start-up does not wait for it)

    given = paths[0].suffix == ".onnx"
    model = OnnxModel(paths[0] if given else default_model())
    images = paths[1:] if given else paths
    if not images:
        raise click.UsageError("no IMAGE to classify")
    answers = [_answer(model, path, quiet=as_json) for path in images]
    if as_json:
        named = {"model": {"name": model.name, "version": model.version}}
        click.echo(json.dumps(named | {"images": answers}, ensure_ascii=False))
    return FAILED if any("error" in answer for answer in answers) else 0


def _answer(model: OnnxModel, path: Path, *, quiet: bool) -> dict[str, object]:
    """Classify one file; print it unless all are printed together."""
    from visionbus.vision import ImageError, load  # noqa: PLC0415 (start-up does not wait for numpy)
    from visionbus.vision import predict as classify  # noqa: PLC0415

    try:
        pixels = load(path.read_bytes(), model.input)
    except ImageError as error:
        click.echo(f"visionbus: error: {path}: {error}", err=True)
        return {"path": str(path), "error": str(error)}
    (found,) = classify(model, pixels[None])
    if not quiet:
        click.echo(f"{path}: {found.label} {found.probability:.4f}")
    return {"path": str(path), "label": found.label, "probabilities": found.probabilities}
