"""`visionbus bus declare`."""

from __future__ import annotations

import click

from visionbus.cli.options import bus_option, json_option, verbose_option
from visionbus.cli.output import print_json
from visionbus.messaging import connect_blocking
from visionbus.messaging.names import dead_letter_topic


@click.command(short_help="Create a topic and its subscriptions.")
@click.argument("topic")
@click.argument("subscriptions", nargs=-1, metavar="[SUBSCRIPTION]...")
@bus_option
@json_option
@verbose_option
def declare(topic: str, subscriptions: tuple[str, ...], bus: str, *, as_json: bool) -> None:
    """Create TOPIC and each SUBSCRIPTION where they are missing.

    A subscription gets every message that is sent after its declaration. Declaring again changes nothing.

    \b
    Examples:
      visionbus bus declare images workers archive
      visionbus bus declare images --bus sqlite:////var/lib/app/bus.db
    """  # noqa: D301 (click reads \b)
    with connect_blocking(bus) as connection:
        connection.declare(topic, *subscriptions)
    letters = [name for name in (dead_letter_topic(topic, one) for one in subscriptions) if name]
    if as_json:
        print_json({"topic": topic, "subscriptions": list(subscriptions), "dead_letters": letters})
        return
    click.echo(f"topic {topic}")
    for name in subscriptions:
        click.echo(f"subscription {topic} {name}")
    for name in letters:
        click.echo(f"dead letters {name}")
