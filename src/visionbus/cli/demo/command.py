"""`visionbus demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.options import json_option, model_option, verbose_option

if TYPE_CHECKING:
    from visionbus.service.sources import Encoding

ALL = 10_000


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True))
@model_option
@click.option(
    "--bus",
    metavar="URL",
    envvar="VISIONBUS_URL",
    show_envvar=True,
    show_default="a file in .demo",
    help="The message bus; the topics are called visionbus-demo-..., new ones for each run.",
)
@click.option("--processes", metavar="N", type=click.IntRange(1, 1024), show_default="one per core", help="Workers.")
@click.option(
    "--images",
    metavar="N",
    type=click.IntRange(1, ALL),
    default=ALL,
    show_default=True,
    help="The first N.",
)
@click.option(
    "--encode",
    type=click.Choice(["raw", "png"]),
    default="raw",
    show_default=True,
    help="How pixels are sent: as they are, or as PNG files.",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    show_default="where they are found, or else fetched",
    help="The folder of Fashion-MNIST's files.",
)
@click.option("--keep", is_flag=True, help="Keep the bus's file as well.")
@json_option
@verbose_option
def demo(  # noqa: PLR0913 (an argument per option)
    *,
    paths: tuple[str, ...],
    model: Path | None,
    bus: str | None,
    processes: int | None,
    images: int,
    encode: Encoding,
    data: Path | None,
    keep: bool,
    as_json: bool,
) -> None:
    """See the whole system classify images, and check every answer.

    PATH is an image file, or a folder of images, which may be in folders named as their classes. Without one it is the
    10,000 test images of Fashion-MNIST. A client, workers and a results consumer run as processes of their own. The
    database with all answers stays: .demo/results.db (or .demo/results-2.db, while another demo runs here). The last
    line is the verdict; the exit status is 0 only when nothing was lost, nothing is double, nothing is wrong, and the
    accuracy on Fashion-MNIST is the model card's.

    \b
    Examples:
      visionbus demo
      visionbus demo --encode png --processes 1
      visionbus demo --images 1000 --json
      visionbus demo --model photos.onnx ~/more-photos
    """  # noqa: D301 (click reads \b)
    from visionbus.cli.demo.run import Options, run  # noqa: PLC0415 (--help does not wait for it)

    if paths and (images != ALL or data):
        raise click.UsageError("--images and --data are for Fashion-MNIST: leave them out, or the PATHs")
    run(Options(bus, processes, images, encode, data, model, paths, keep, as_json))
