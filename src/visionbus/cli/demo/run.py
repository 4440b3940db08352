"""One demo from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import signal
import struct
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console

from visionbus.cli.demo import gallery, raw
from visionbus.cli.demo.children import Children
from visionbus.cli.demo.place import own_place
from visionbus.cli.demo.progress import Counts, shown
from visionbus.cli.demo.report import WHOLE, Report, make_report, pictures
from visionbus.cli.demo.system import Seen, System, declare, send_and_wait, start_services
from visionbus.cli.demo.verdict import read_rows
from visionbus.cli.errors import TERMINATED, Failure
from visionbus.cli.output import print_json
from visionbus.service.client import new_run
from visionbus.service.supervisor import cores
from visionbus.vision.datasets import fashion_mnist
from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visionbus.cli.demo.place import Place
    from visionbus.vision import Dataset

FASHION_MNIST = "fashion-mnist"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None is the default."""

    bus: str | None
    processes: int | None
    images: int
    encode: str
    data: Path | None
    keep: bool
    as_json: bool


class Screen:
    """Where it is shown: a terminal, or one fact a line, or nowhere but in one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self.console = Console(highlight=False)
        self.as_json = as_json

    def say(self, fact: str) -> None:
        """Print a fact on a line, however long."""
        if not self.as_json:
            click.echo(fact)


def run(options: Options) -> None:
    """Run the system, show what comes of it, and raise `Failure` unless the verdict holds."""
    screen = Screen(as_json=options.as_json)
    model = OnnxModel(default_model(), threads=cores())
    screen.say(f"model {model.name} {model.version}")
    screen.say(f"data Fashion-MNIST, {options.images} test images{f' from {options.data}' if options.data else ''}")
    dataset = fashion_mnist("test", folder=options.data)
    dataset = dataset.subset(np.arange(len(dataset))[: options.images])
    with own_place() as place:
        system = _system(options, place, dataset)
        seen, raw_rate = asyncio.run(_measure(system, place, len(dataset), screen))
        report = make_report(system, seen, read_rows(place.results, system.run), dataset, model, raw_rate)
        _show(report, dataset, screen)
        if not report.holds:
            raise Failure(f"that is not as it must be: {report.complaint}; the processes' words: {place.folder}/*.log")
        if not options.keep:
            place.remove_bus()


def _system(options: Options, place: Place, dataset: Dataset) -> System:
    name = new_run()
    file = place.folder / "images-idx3-ubyte"
    _write_idx(file, dataset)
    whole = options.data is None and len(dataset) == WHOLE and not Path(FASHION_MNIST).exists()
    return System(
        bus=options.bus or f"sqlite:///{place.bus}",
        topic=f"visionbus-demo-{name}" if options.bus else "visionbus",
        run=name,
        model=default_model(),
        processes=options.processes or cores(),
        images=FASHION_MNIST if whole else str(file),
        file=file,
        encode=options.encode,
        store=place.results,
    )


def _write_idx(path: Path, dataset: Dataset) -> None:
    """Write the pixels as an IDX file, uint8 [image, height, width]: `visionbus send` and the raw run read it."""
    pixels = dataset.images[..., 0]
    path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes())


async def _measure(system: System, place: Place, images: int, screen: Screen) -> tuple[Seen, float]:
    """Run the system, then ONNX Runtime alone; whatever happens, no process is left."""
    counts = Counts(images)
    with _ending_on_sigterm():
        async with Children(place.folder) as children:
            screen.say(f"bus {system.bus}")
            screen.say(f"processes 1 client, {system.processes} workers, 1 results consumer")
            await declare(system)
            services = await start_services(system, children)
            async with shown(counts, screen.console, quiet=screen.as_json):
                seen = await send_and_wait(system, children, services, counts)
            await children.stop()
            screen.say(f"measuring ONNX Runtime alone, in {system.processes} processes")
            return seen, await raw.measure(children, system.model, system.file, images, system.processes)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into the end of the present task, then of the program."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    told = False

    def end() -> None:
        nonlocal told
        told = True
        if task:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            sys.exit(TERMINATED)
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _show(report: Report, dataset: Dataset, screen: Screen) -> None:
    if screen.as_json:
        print_json(report.to_json())
        return
    gallery.show(pictures(report, dataset), screen.console)
    for fact in report.facts():
        click.echo(fact)
    click.echo(str(report.verdict))
