"""`visionbus broker`: real brokers on this machine, for development and tests."""

from __future__ import annotations

import click

from visionbus.cli.broker.kafka import kafka
from visionbus.cli.broker.pubsub import pubsub
from visionbus.cli.hints import HintingGroup


@click.group(cls=HintingGroup)
def broker() -> None:
    """Run a real message broker on this machine, for development and tests.

    \b
    Examples:
      visionbus broker kafka                                 one node; prints its URL when it is ready
      visionbus broker kafka --nodes 3 --data kafka-data     three nodes, whose data stay
      visionbus broker pubsub                                Google's emulator of Pub/Sub
    """  # noqa: D301 (click reads \b)


broker.add_command(kafka)
broker.add_command(pubsub)
