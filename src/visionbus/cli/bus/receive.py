"""`visionbus bus receive`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from visionbus.cli.bus.deliveries import BATCH, HELD, PEEK_TIMEOUT, batches, document, shown
from visionbus.cli.errors import Failure
from visionbus.cli.options import bus_option, json_option, verbose_option
from visionbus.cli.output import print_json
from visionbus.messaging import connect_blocking

if TYPE_CHECKING:
    from visionbus.messaging import Delivery


@click.command(short_help="Receive, print and ack messages.")
@click.argument("topic")
@click.argument("subscription")
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(min=1),
    help="End after N messages. Default: go on; with --peek or --json 1000.",
)
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0),
    help="End when no message has come for S seconds. Default: wait for ever; with --peek or --json 2.",
)
@click.option("--peek", "--no-ack", is_flag=True, help="Give the messages back: they come again.")
@bus_option
@json_option
@verbose_option
def receive(
    topic: str, subscription: str, count: int | None, timeout: float | None, bus: str, *, peek: bool, as_json: bool
) -> None:
    """Receive from SUBSCRIPTION of TOPIC, and print each message's data, one a line; each is acked once printed.

    What is not text is printed as base64: and its Base64. With --json all that is known of each message is
    printed. When fewer than --count came before --timeout, the exit status is 1.

    \b
    Examples:
      visionbus bus receive images workers --count 1
      visionbus bus receive images workers --timeout 5 --json
      visionbus bus receive images workers --peek
    """  # noqa: D301 (click reads \b)
    if peek or as_json:
        timeout = PEEK_TIMEOUT if timeout is None else timeout
    most = count or (HELD if peek or as_json else sys.maxsize)
    held = most if peek or as_json else BATCH  # until the end, or batch by batch
    came: list[Delivery] = []
    total = 0
    with connect_blocking(bus) as connection, connection.subscribe(topic, subscription, max_in_flight=held) as receiver:
        for batch in batches(receiver, most, timeout):
            total += len(batch)
            if as_json:
                came += batch
                continue
            click.echo("".join(f"{shown(one.message.data)}\n" for one in batch), nl=False)
            if not peek:
                receiver.ack(*batch)
        if as_json:
            print_json([document(one) for one in came])
            if not peek:
                receiver.ack(*came)
    if count and total < count:
        raise Failure(f"{total} of {count} messages came; after {timeout:g} s without one --timeout ended it")
