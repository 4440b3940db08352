"""`visionbus train`: trains a model file from data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from visionbus.cli.errors import Failure
from visionbus.cli.options import allow_broken_option, json_option, verbose_option
from visionbus.cli.output import print_json

if TYPE_CHECKING:
    from visionbus.training import Trained
    from visionbus.training.precision import Precision


@click.command(short_help="Train a classifier and write its model file.")
@click.argument("data")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The model file, such as shoes.onnx; its card is written next to it, as shoes.md.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model file and its card where they exist.")
@click.option(
    "--name",
    metavar="NAME",
    show_default="the file's name without .onnx",
    help="The name that requests use for the model.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    show_default="8; more for fewer than 20,000 images",
    help="How often each image is shown.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed and --precision, same model."
)
@click.option(
    "--repeats",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train with N seeds and measure each on the test set, to see the spread. The file has the first.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision of the arithmetic in training; auto takes bf16 where a short trial is faster.",
)
@allow_broken_option
@json_option
@verbose_option
def train(  # noqa: PLR0913 (an argument per option)
    *,
    data: str,
    output: Path,
    overwrite: bool,
    name: str | None,
    epochs: int | None,
    seed: int,
    repeats: int,
    precision: Precision,
    allow_broken: float,
    as_json: bool,
) -> None:
    """Train a classifier on DATA and write it as one self-describing ONNX file.

    DATA is fashion-mnist (found on this machine or fetched), or a folder with one subfolder of images per class.
    A tenth of the training images is held out at first to calibrate the probabilities; then the model is trained on
    all of them. If DATA has a test set, the finished model is measured on it, once.

    \b
    Examples:
      visionbus train fashion-mnist -o model.onnx
      visionbus train ~/photos -o photos.onnx --epochs 20
      visionbus train fashion-mnist -o model.onnx --repeats 3     three seeds, mean and spread
    """  # noqa: D301 (click reads \b)
    for path in () if overwrite else (output, output.with_suffix(".md")):
        if path.exists():
            raise Failure(f"{path} exists: name another output, or replace it with --overwrite")
    from visionbus import training  # noqa: PLC0415 (torch takes seconds, and is an extra)
    from visionbus.vision.datasets import Checks, load_training_data  # noqa: PLC0415 (numpy takes its time, too)

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    trained = training.train(
        load_training_data(data, checks=Checks(allow_broken)),
        output,
        name=name,
        epochs=epochs,
        seed=seed,
        repeats=repeats,
        precision=precision,
        console=Console(stderr=True),
    )
    if as_json:
        print_json(_document(trained))
    else:
        _print_trained(trained)


def _document(trained: Trained) -> dict[str, object]:
    model = trained.model
    return {
        "path": str(trained.path),
        "name": model.name,
        "version": model.version,
        "seconds": round(trained.seconds, 1),
        "figures": model.figures,
        "provenance": model.provenance,
    }


def _print_trained(trained: Trained) -> None:
    measured = trained.tests[0] if trained.tests else trained.validation
    part = "test" if trained.tests else "held-out"
    click.echo(f"model {trained.path} name {trained.model.name} version {trained.model.version}")
    click.echo(f"accuracy {measured.accuracy:.4f} on {measured.images} {part} images, after {trained.seconds:.0f} s")
    click.echo(f"card {trained.path.with_suffix('.md')}")
