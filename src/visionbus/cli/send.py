"""`visionbus send`."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

import click

from visionbus.cli.errors import FAILED, INTERRUPTED
from visionbus.cli.options import bus_option, json_option, topic_option, verbose_option
from visionbus.cli.output import one_line, print_json
from visionbus.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visionbus.service.client import Client
    from visionbus.service.images import Item
    from visionbus.service.sources import Encoding

LEFT_OUT = "left out: "  # before an image and the reason
_SHOW_EVERY = 0.1  # seconds


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@bus_option
@click.option("--run", metavar="NAME", help="Name this run, or go on with an interrupted one, under the same ids.")
@click.option("--model", metavar="NAME", help="The only model that may answer: the name of a worker's model.")
@click.option("--shrink", is_flag=True, help="Send files over the bus's size limit as JPEGs of 2,048 pixels at most.")
@click.option(
    "--encode",
    type=click.Choice(["raw", "png"]),
    default="raw",
    show_default=True,
    help="How images of IDX files and of fashion-mnist are sent: as pixels, or as PNG files.",
)
@topic_option
@json_option
@verbose_option
def send(
    paths: tuple[str, ...],
    bus: str,
    run: str | None,
    model: str | None,
    encode: str,
    topic: str,
    *,
    shrink: bool,
    as_json: bool,
) -> int:
    """Publish images to be classified, print the ids that the bus confirms, and do not wait for the answers.

    PATH is an image file, a folder (all images in it and below, by suffix), an IDX file, or the word fashion-mnist: its
    10,000 test images. Exit status 1 if a file was left out (unreadable, or too large), or nothing was found.

    \b
    Examples:
      visionbus send photo.png holidays/
      visionbus send --run monday holidays/       again, after an interruption: the same ids
      visionbus send fashion-mnist
    """  # noqa: D301 (click reads \b)
    encoding = cast("Encoding", encode)
    return asyncio.run(_run(paths, bus, run, model, encoding, topic, shrink=shrink, as_json=as_json))


@dataclass(slots=True)
class _Tally:
    """What became of the images so far."""

    sent: int = 0
    left_out: list[str] = field(default_factory=list)  # and why: they cannot be read, or are too large
    skipped: list[str] = field(default_factory=list)  # files in folders that are not images

    def leave_out(self, reason: str) -> None:
        self.left_out.append(reason)
        _say(f"{LEFT_OUT}{reason}")

    def skip(self, reason: str) -> None:
        self.skipped.append(reason)
        _say(f"skipped: {reason}")


async def _run(
    paths: tuple[str, ...],
    url: str,
    run: str | None,
    model: str | None,
    encode: Encoding,
    topic: str,
    *,
    shrink: bool,
    as_json: bool,
) -> int:
    from visionbus.messaging import connect  # noqa: PLC0415 (--help does not wait for it)
    from visionbus.service.client import Client  # noqa: PLC0415
    from visionbus.service.sources import find  # noqa: PLC0415

    tally = _Tally()
    images = find(paths, encode=encode, skipped=tally.skip)
    async with connect(url) as bus:
        client = Client(bus, topic=topic, run=run, shrink=shrink, model=model, refused=tally.leave_out)
        async with client:
            _say(f"run {client.run}")
            complete = await _submit(client, images, tally, show=not as_json)
    _say(f"sent {tally.sent}, left out {len(tally.left_out)}, skipped {len(tally.skipped)}")
    if as_json:
        print_json({"run": client.run, **asdict(tally)})
    if not complete:
        _say(f"interrupted: go on with --run {client.run}")
        return INTERRUPTED
    if not (tally.sent or tally.left_out):
        _say("nothing was sent: no images were found")
        return FAILED
    return FAILED if tally.left_out else 0


async def _submit(client: Client, images: Iterable[Item], tally: _Tally, *, show: bool) -> bool:
    """Send them all; return whether no signal came in between."""
    with stop_on_signals() as stop:
        sending = asyncio.ensure_future(_send(client, images, tally, show=show))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if sending.done():
            await sending
            return True
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return False


async def _send(client: Client, images: Iterable[Item], tally: _Tally, *, show: bool) -> None:
    """Send them all; show the ids on stdout, a tenth of a second late at most."""
    shown = said = time.monotonic()
    async with aclosing(client.submit(images)) as ids:
        async for name in ids:
            tally.sent += 1
            if show:
                sys.stdout.write(f"{name}\n")
            now = time.monotonic()
            if now - shown >= _SHOW_EVERY:
                sys.stdout.flush()
                shown = now
            if now - said >= 1.0:
                said = now
                _say(f"sent {tally.sent}")


def _say(fact: str) -> None:
    click.echo(one_line(fact), err=True)
