"""`visionbus bus send`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import click

from visionbus.cli.options import bus_option, json_option, verbose_option
from visionbus.cli.output import print_json
from visionbus.messaging import Message, connect_blocking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from io import BufferedReader


def _attributes(_ctx: click.Context, _parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"{pair!r} has no '=': write NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


@click.command(short_help="Send messages to a topic.")
@click.argument("topic")
@click.argument("data", nargs=-1)
@click.option("--file", "files", multiple=True, type=click.File("rb"), help="Send what a file holds; may be repeated.")
@click.option("--lines", is_flag=True, help="Send each line of the files, or of stdin, as a message, as it comes.")
@click.option("--key", help="Messages of one key arrive in the order they were sent.")
@click.option(
    "--attribute", "attributes", metavar="NAME=VALUE", multiple=True, callback=_attributes, help="Repeatable."
)
@bus_option
@json_option
@verbose_option
def send(
    topic: str,
    data: tuple[str, ...],
    files: tuple[BufferedReader, ...],
    key: str | None,
    attributes: dict[str, str],
    bus: str,
    *,
    lines: bool,
    as_json: bool,
) -> None:
    """Send each DATA as one message to TOPIC, and print the ids that the bus confirms, one a line.

    Without DATA and --file, what stdin holds is one message.

    \b
    Examples:
      visionbus bus send images 'hello' 'world'
      visionbus bus send images --file photo.png --attribute content-type=image/png
      tail -f app.log | visionbus bus send logs --lines
    """  # noqa: D301 (click reads \b)
    if data and (files or lines):
        raise click.UsageError("DATA cannot go with --file or --lines: use one or the other")
    sources = files or (cast("BufferedReader", sys.stdin.buffer),)
    batches = [[text.encode(errors="surrogateescape") for text in data]] if data else _contents(sources, lines=lines)
    ids: list[str] = []
    with connect_blocking(bus) as connection:
        for batch in batches:
            sent = connection.send(topic, *(Message(one, key, attributes) for one in batch))
            ids += sent if as_json else []
            if not as_json:
                click.echo("".join(f"{name}\n" for name in sent), nl=False)
    if as_json:
        print_json({"topic": topic, "ids": ids})


def _contents(sources: Iterable[BufferedReader], *, lines: bool) -> Iterator[list[bytes]]:
    """Read each source whole, or as lines: those that are there at a time together."""
    for source in sources:
        if not lines:
            yield [source.read()]
            continue
        rest = b""
        while chunk := source.read1(1 << 16):
            *whole, rest = (rest + chunk).split(b"\n")
            if whole:
                yield whole
        if rest:
            yield [rest]
