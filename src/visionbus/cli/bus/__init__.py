"""`visionbus bus`: plain messages on any bus, for looking around, for scripts, and for dead letters."""

from __future__ import annotations

import click

from visionbus.cli.bus.dead_letters import list_dead_letters
from visionbus.cli.bus.declare import declare
from visionbus.cli.bus.receive import receive
from visionbus.cli.bus.send import send
from visionbus.cli.hints import HintingGroup


@click.group(cls=HintingGroup)
def bus() -> None:
    """Send, receive and look at plain messages on any bus.

    \b
    Examples:
      visionbus bus declare images workers                    a topic, and a subscription of it
      visionbus bus send images 'hello' --key k1              prints the message's id
      visionbus bus send images --lines < names.txt           a message a line
      visionbus bus receive images workers --timeout 1        prints data, and acks
      visionbus bus dead-letters images workers --redrive     what was given up, once more
    """  # noqa: D301 (click reads \b)


for command in (declare, send, receive, list_dead_letters):
    bus.add_command(command)
