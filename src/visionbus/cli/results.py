"""`visionbus results`."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from visionbus.cli.options import bus_option, json_option, topic_option, verbose_option
from visionbus.cli.output import print_json
from visionbus.cli.signals import stop_on_signals

_SHOW_EVERY = 1.0  # seconds


@click.command()
@bus_option
@click.option(
    "--store",
    metavar="URL",
    required=True,
    help="Where the answers go: sqlite:///FILE, or just a file's path; - prints them.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End when N new answers are stored.")
@topic_option
@json_option
@verbose_option
def results(bus: str, store: str, count: int | None, topic: str, *, as_json: bool) -> None:
    """Store the answers in a database, or print them, as they come.

    Ends on SIGTERM or Ctrl-C, or after --count answers. An image is stored once, however often its answer comes. While
    the database is locked or full, answers wait on the bus.

    \b
    Examples:
      visionbus results --store answers.db
      visionbus results --store - --count 10
      sqlite3 answers.db 'select label, count(*) from results group by label'
    """  # noqa: D301 (click reads \b)
    if as_json and store == "-":
        raise click.UsageError("--json cannot go with --store -: both would print on stdout")
    progress = _Progress(count)
    asyncio.run(_run(bus, store, topic, progress))
    click.echo(f"stored {progress.stored}", err=True)
    if as_json:
        print_json({"stored": progress.stored, "store": store})


async def _run(url: str, store_url: str, topic: str, progress: _Progress) -> None:
    from visionbus.messaging import connect  # noqa: PLC0415 (--help does not wait for it)
    from visionbus.service.patience import before, until_available  # noqa: PLC0415
    from visionbus.service.results import collect  # noqa: PLC0415
    from visionbus.service.stores import open_store  # noqa: PLC0415
    from visionbus.service.topology import Topology  # noqa: PLC0415

    with stop_on_signals() as stop:
        async with connect(url) as bus:
            # First of all: a file that both are to be is a bus then, and no store can make it its own.
            await before(stop, until_available("declaring the topics", partial(Topology(topic).declare, bus)))
            if stop.is_set():
                return
            async with open_store(store_url) as store:
                click.echo("results ready", err=True)
                await collect(bus, store, topic=topic, stop=stop, stored=progress)


class _Progress:
    """Counts new rows, says how many there are within a second of each, and tells when they are enough."""

    def __init__(self, count: int | None) -> None:
        self.stored = 0
        self._count = count
        self._saying: asyncio.TimerHandle | None = None

    def __call__(self, new: int) -> bool:
        self.stored += new
        if new and not self._saying:
            self._saying = asyncio.get_running_loop().call_later(_SHOW_EVERY, self._say)
        return self._count is not None and self.stored >= self._count

    def _say(self) -> None:
        self._saying = None
        click.echo(f"stored {self.stored}", err=True)
