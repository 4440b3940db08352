"""`visionbus train`: trains a model file from data."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from visionbus.cli.errors import INTERRUPTED, Failure
from visionbus.cli.options import data_options, json_option, verbose_option
from visionbus.cli.output import print_json

if TYPE_CHECKING:
    from visionbus.training import Trained
    from visionbus.training.augment import AugmentName
    from visionbus.training.options import Precision
    from visionbus.vision.datasets import Checks, Columns


class Duration(click.ParamType[float]):
    """A time such as 90, 90s, 10m or 2h, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value).strip())
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no time above 0: write seconds, or 90s, 10m, 2h", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


@click.command(short_help="Train a classifier and write its model file.")
@click.argument("data")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The model file, such as shoes.onnx; next to it are written its card, shoes.md, and the report, shoes.html.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model file and what lies next to it where they exist.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training, as it was planned.")
@click.option(
    "--name",
    metavar="NAME",
    show_default="the file's name without .onnx",
    help="The name that requests use for the model.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    show_default="6 or 8 for many images; more for few",
    help="How often each image is shown.",
)
@click.option(
    "--time-budget",
    metavar="TIME",
    type=Duration(),
    show_default="as long as the epochs take",
    help="How long all of this may take, as in 90s, 10m or 2h: there are fewer epochs if need be, and of a backbone "
    "fewer images. Start, data and report alone take a quarter of a minute to a whole one.",
)
@click.option(
    "--image-size",
    metavar="PIXELS",
    type=click.IntRange(8, 1024),
    show_default="what suits the images, at most 64, or 160 for a backbone",
    help="Crop and resize image files to this many pixels per side.",
)
@click.option(
    "--augment",
    type=click.Choice(["auto", "none", "flip", "shift", "photo"]),
    default="auto",
    show_default=True,
    help="Change images at random while learning: flip mirrors left and right (not for text), shift moves, photo "
    "flips, crops, turns and changes colours; auto is flip up to 32 pixels per side, and photo above.",
)
@click.option(
    "--backbone",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="A network of timm with pretrained weights; none is ours, from scratch; auto takes a backbone for photographs "
    "where weights are on this machine, and ours elsewhere.",
)
@click.option(
    "--weights",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_default="those on this machine, or from the hub",
    help="The backbone's weights: .safetensors, or written by torch.save.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Same seed and --precision, same model, on the same machine's processor.",
)
@click.option(
    "--repeats",
    metavar="N",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Train with N seeds and measure each on the test set, to see the spread. The file has the first.",
)
@click.option(
    "--refit/--no-refit",
    default=None,
    show_default="--refit if DATA has no validation split",
    help="Fit a final network on training and validation images together, once these have decided what they are for.",
)
@click.option(
    "--devices",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Share each batch among N processes, each with a GPU where there are some.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision of the arithmetic in training; auto takes bf16 where a short trial is faster.",
)
@data_options
@json_option
@verbose_option
@click.pass_context
def train(  # noqa: PLR0913 (an argument per option)
    context: click.Context,
    *,
    data: str,
    output: Path,
    overwrite: bool,
    resume: bool,
    name: str | None,
    epochs: float | None,
    time_budget: float | None,
    image_size: int | None,
    augment: AugmentName,
    backbone: str,
    weights: Path | None,
    seed: int,
    repeats: int,
    refit: bool | None,
    devices: int,
    precision: Precision,
    columns: Columns,
    checks: Checks,
    as_json: bool,
) -> None:
    """Train a classifier on DATA and write it as one self-describing ONNX file.

    DATA is fashion-mnist (found on this machine or fetched); a folder with a folder per class, alone or under train,
    validation and test; a .csv, .tsv or .parquet file of paths and labels; an .npz file; or IDX files.
    A tenth of the training images is held out at first, unless there is a validation split, to calibrate the
    probabilities, and to see whether a backbone should be fine-tuned; then the model is trained on all of them. If DATA
    has a test set, the finished model is measured on it, once.

    Ctrl-C or SIGTERM stops in good order: FILE then has what was learnt so far, or the finished first of two fits, and
    the same command with --resume goes on.

    \b
    Examples:
      visionbus train fashion-mnist -o model.onnx
      visionbus train ~/photos -o photos.onnx --time-budget 10m
      visionbus train ~/photos -o photos.onnx --resume            after it was interrupted
      visionbus train fashion-mnist -o model.onnx --repeats 3     three seeds, mean and spread
    """  # noqa: D301 (click reads \b)
    began = time.monotonic()
    _check(output, overwrite=overwrite, resume=resume)
    from visionbus import training  # noqa: PLC0415 (torch takes seconds, and is an extra)
    from visionbus.training.memory import keep_freed  # noqa: PLC0415 (the same)

    keep_freed()
    try:
        trained = training.train(
            data,
            output,
            name=name,
            epochs=epochs,
            image_size=image_size,
            augment=augment,
            backbone=backbone,
            weights=weights,
            seed=seed,
            repeats=repeats,
            devices=devices,
            precision=precision,
            refit=refit,
            time_budget=None if time_budget is None else _left(time_budget, began),
            resume=resume,
            columns=columns,
            checks=checks,
            console=Console(stderr=True),
        )
    except KeyboardInterrupt:
        if not overwrite and output.with_suffix(".checkpoint").exists():
            click.echo("the same command with --resume goes on", err=True)
        raise
    seconds = time.monotonic() - began
    if time_budget is not None and not resume and seconds > 1.1 * time_budget + 1:
        text = "start, data, a few epochs and the report take some time by themselves"
        click.echo(
            f"note: this took {seconds:.0f} s, more than the {time_budget:g} s that it was given: {text}", err=True
        )
    if as_json:
        print_json(_document(trained, seconds))
    else:
        _print_trained(trained, seconds)
    if trained.stopped:
        context.exit(INTERRUPTED)


def _left(time_budget: float, began: float) -> float:
    """Return how many seconds of a time budget are left, in tenths, and at least one."""
    return max(math.floor(10 * (time_budget - (time.monotonic() - began))) / 10, 1.0)


def _check(output: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse to replace what exists."""
    if output.suffix != ".onnx":  # of other names, it would be the card and the report that exist
        return
    if overwrite or resume:
        return
    if output.with_suffix(".checkpoint").exists():
        raise Failure(
            f"{output.with_suffix('.checkpoint')} is of an interrupted training: go on with --resume, or begin anew "
            "with --overwrite"
        )
    for path in (output, output.with_suffix(".md"), output.with_suffix(".html")):
        if path.exists():
            raise Failure(f"{path} exists: name another output, or replace it with --overwrite")


def _document(trained: Trained, seconds: float) -> dict[str, object]:
    model = trained.model
    return {
        "path": str(trained.path),
        "name": model.name,
        "version": model.version,
        "seconds": round(seconds, 1),
        "figures": model.figures,
        "provenance": model.provenance,
        "stopped": trained.stopped,
    }


def _print_trained(trained: Trained, seconds: float) -> None:
    measured = trained.tests[0] if trained.tests else trained.validation
    part = "test" if trained.tests else "held-out"
    click.echo(f"model {trained.path} name {trained.model.name} version {trained.model.version}")
    click.echo(f"accuracy {measured.accuracy:.4f} on {measured.images} {part} images, after {seconds:.0f} s")
    if trained.stopped:
        click.echo(f"stopped: {trained.stopped}")
    click.echo(f"report {trained.path.with_suffix('.html')}")
    click.echo(f"card {trained.path.with_suffix('.md')}")
