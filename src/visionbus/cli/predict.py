"""`visionbus predict`: classifies image files, without a bus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.errors import FAILED, without_path
from visionbus.cli.options import json_option, verbose_option
from visionbus.cli.output import print_json

if TYPE_CHECKING:
    from visionbus.vision import Model


@click.command(short_help="Classify image files, without a bus.")
@click.argument(
    "paths",
    metavar="[MODEL] IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@json_option
@verbose_option
def predict(*, paths: tuple[Path, ...], as_json: bool) -> int:
    """Classify each IMAGE with the model file MODEL, which ends in .onnx; by default with the shipped one.

    Files that are missing, or not intact images, are reported on stderr; the others are classified, and the exit status
    is 1.

    \b
    Examples:
      visionbus predict shoe.png bag.jpg
      visionbus predict photos.onnx ~/more-photos/*.jpg --json
    """  # noqa: D301 (click reads \b)
    from visionbus.vision.onnx import OnnxModel, default_model  # noqa: PLC0415 (--help does not wait for it)

    if folders := [path for path in paths if path.is_dir()]:
        one = folders[0]
        raise click.UsageError(f"{one} is a folder: name its images, as in {one}/*, or measure it: visionbus evaluate")
    given = paths[0].suffix == ".onnx"
    model = OnnxModel(paths[0] if given else default_model())
    images = paths[1:] if given else paths
    if not images:
        raise click.UsageError("no IMAGE to classify: name at least one image file")
    answers = [_answer(model, path, quiet=as_json) for path in images]
    if as_json:
        print_json({"model": {"name": model.name, "version": model.version}, "images": answers})
    return FAILED if any("error" in answer for answer in answers) else 0


def _answer(model: Model, path: Path, *, quiet: bool) -> dict[str, object]:
    """Classify one file; print the answer at once unless `quiet`."""
    from visionbus import vision  # noqa: PLC0415 (--help does not wait for numpy)
    from visionbus.vision.files import read_limited  # noqa: PLC0415 (the same)

    try:
        pixels = vision.load(read_limited(path, vision.Limits().size), model.input)
    except (vision.ImageError, OSError) as error:
        reason = without_path(error) if isinstance(error, OSError) else str(error)
        click.echo(f"visionbus: error: {path}: {reason}", err=True)
        return {"path": str(path), "error": reason}
    (found,) = vision.predict(model, pixels[None])
    if not quiet:
        click.echo(f"{path}: {found.label} {found.probability:.4f}")
    return {"path": str(path), "label": found.label, "probabilities": found.probabilities}
