"""`visionbus worker`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from visionbus.cli.options import bus_option, model_option, topic_option, verbose_option
from visionbus.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

    from visionbus.service.process import Specification


@click.command()
@bus_option
@model_option
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1, 1024),
    show_default="one per core",
    help="How many worker processes.",
)
@topic_option
@click.option(
    "--ack-deadline",
    metavar="SECONDS",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    help="How soon others take over what a dead worker had in hand.",
)
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=256,
    show_default=True,
    help="The most images taken at a time.",
)
@click.option(
    "--stuck",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    help="Replace a worker that makes no progress for so long with images in hand.",
)
@verbose_option
def worker(
    bus: str, model: Path | None, processes: int | None, topic: str, ack_deadline: float, batch: int, stuck: float
) -> None:
    """Classify the images that come over the bus, in worker processes that are started again when they die.

    Ends on SIGTERM or Ctrl-C: what is in process is finished, the rest goes back to the bus.

    \b
    Examples:
      visionbus worker                                     the shipped model, one process per core
      visionbus worker --model shoes.onnx --processes 2
      visionbus worker --bus sqlite:////var/lib/images.db
    """  # noqa: D301 (click reads \b)
    from visionbus.service.process import Specification  # noqa: PLC0415 (--help does not wait for it)
    from visionbus.vision.onnx import default_model  # noqa: PLC0415

    specification = Specification(bus, str(model or default_model()), topic, ack_deadline, batch)
    asyncio.run(_run(specification, processes, stuck))


async def _run(specification: Specification, processes: int | None, stuck: float) -> None:
    from visionbus.service.supervisor import Supervisor  # noqa: PLC0415

    supervisor = Supervisor(specification, processes, report=_say, stuck=stuck)
    with stop_on_signals() as stop:
        await supervisor.run(stop)
    _say("workers ended")


def _say(fact: str) -> None:
    click.echo(fact, err=True)
