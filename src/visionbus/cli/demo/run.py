"""One demo from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console

from visionbus.cli.demo import gallery, raw
from visionbus.cli.demo.children import Children
from visionbus.cli.demo.place import own_place
from visionbus.cli.demo.progress import Counts, shown
from visionbus.cli.demo.report import Report, make_report, pictures
from visionbus.cli.demo.subject import WHOLE, Subject, classify, own_images, test_images
from visionbus.cli.demo.system import Seen, System, declare, send_and_wait, start_services
from visionbus.cli.demo.verdict import read_rows
from visionbus.cli.errors import TERMINATED, Failure
from visionbus.cli.output import print_json
from visionbus.service.client import new_run
from visionbus.service.images import Requests
from visionbus.service.supervisor import cores
from visionbus.vision.datasets.fashion import CLASSES as FASHION_CLASSES
from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from visionbus.cli.demo.gallery import Picture
    from visionbus.cli.demo.place import Place
    from visionbus.service.sources import Encoding


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None is the default."""

    bus: str | None = None
    processes: int | None = None
    images: int = WHOLE
    encode: Encoding = "raw"
    data: Path | None = None
    model: Path | None = None
    paths: tuple[str, ...] = ()
    keep: bool = False
    as_json: bool = False


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
    model = OnnxModel(options.model or default_model(), threads=cores())
    screen.say(f"model {model.name} {model.version}")
    with own_place() as place:
        system = _system(options, place, _subject(options, place, model, screen))
        seen, raw_rate, limit = asyncio.run(_measure(system, place, screen))
        requests = Requests(system.run, limit, system.shrink)
        screen.say("checking every row: the same model on the same images, without a bus")
        offline = classify(system.subject, requests, model)
        report = make_report(system, seen, read_rows(place.results, system.run), model, offline, raw_rate)
        _show(report, pictures(report, offline, requests, model.input), screen)
        if not report.holds:
            raise Failure(f"that is not as it must be: {report.complaint}; the processes' words: {place.folder}/*.log")
        if not options.keep:
            place.remove_bus()


def _subject(options: Options, place: Place, model: OnnxModel, screen: Screen) -> Subject:
    if options.paths:
        subject = own_images(options.paths, model.classes, options.encode)
        screen.say(f"data {len(subject.items)} images in {', '.join(options.paths)}")
        return subject
    if options.model and model.classes != FASHION_CLASSES:
        raise Failure(f"{options.model} knows other classes than Fashion-MNIST's: name images of your own to classify")
    screen.say(f"data Fashion-MNIST, {options.images} test images{f' from {options.data}' if options.data else ''}")
    return test_images(options.images, options.data, place.folder / "images-idx3-ubyte", options.encode)


def _system(options: Options, place: Place, subject: Subject) -> System:
    name = new_run()
    return System(
        bus=options.bus or f"sqlite:///{place.bus}",
        topic=f"visionbus-demo-{name}" if options.bus else "visionbus",
        run=name,
        model=options.model or default_model(),
        processes=options.processes or cores(),
        subject=subject,
        encode=options.encode,
        shrink=bool(options.paths),
        store=place.results,
    )


async def _measure(system: System, place: Place, screen: Screen) -> tuple[Seen, float | None, int]:
    """Run the system, then, where there is a file of pixels, ONNX Runtime alone; whatever happens, no process is left.

    Return what was seen, the rate of ONNX Runtime in images/s, and the bus's limit in bytes.
    """
    images = len(system.subject.items)
    counts = Counts(images)
    with _ending_on_sigterm():
        async with Children(place.folder) as children:
            screen.say(f"bus {system.bus}")
            screen.say(f"processes 1 client, {system.processes} workers, 1 results consumer")
            limit = await declare(system)
            services = await start_services(system, children)
            async with shown(counts, screen.console, quiet=screen.as_json):
                seen = await send_and_wait(system, children, services, counts)
            await children.stop()
            if system.subject.idx is None:
                return seen, None, limit
            screen.say(f"measuring ONNX Runtime alone, in {system.processes} processes")
            raw_rate = await raw.measure(children, system.model, system.subject.idx, images, system.processes)
            return seen, raw_rate, limit


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


def _show(report: Report, pictures: Sequence[Picture], screen: Screen) -> None:
    if screen.as_json:
        print_json(report.to_json())
        return
    if pictures:
        gallery.show(pictures, screen.console)
    for fact in report.facts():
        click.echo(fact)
    click.echo(str(report.verdict))
