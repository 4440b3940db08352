"""`visionbus demo`."""

from __future__ import annotations

from pathlib import Path

import click

from visionbus.cli.options import json_option, verbose_option

ALL = 10_000


@click.command()
@click.option(
    "--bus",
    metavar="URL",
    envvar="VISIONBUS_URL",
    show_envvar=True,
    show_default="a file in .demo",
    help="The message bus; the topics are called visionbus-demo-..., new ones for each run.",
)
@click.option("--processes", metavar="N", type=click.IntRange(1, 1024), show_default="one per core", help="Workers.")
@click.option("--images", metavar="N", type=click.IntRange(1, ALL), default=ALL, show_default=True, help="The first N.")
@click.option(
    "--encode",
    type=click.Choice(["raw", "png"]),
    default="raw",
    show_default=True,
    help="How the images are sent: as pixels, or as PNG files.",
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
def demo(
    bus: str | None, processes: int | None, images: int, encode: str, data: Path | None, *, keep: bool, as_json: bool
) -> None:
    """See the whole system classify the 10,000 test images of Fashion-MNIST, and check every answer.

    A client, workers and a results consumer run as processes of their own. The database with all answers stays:
    .demo/results.db (or .demo/results-2.db, while another demo runs here). The last line is the verdict; the exit
    status is 0 only when nothing was lost, nothing is double, nothing is wrong, and the accuracy is the model card's.

    \b
    Examples:
      visionbus demo
      visionbus demo --encode png --processes 1
      visionbus demo --images 1000 --json
    """  # noqa: D301 (click reads \b)
    from visionbus.cli.demo.run import Options, run  # noqa: PLC0415 (--help does not wait for it)

    run(Options(bus, processes, images, encode, data, keep, as_json))
