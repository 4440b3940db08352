"""`visionbus broker kafka`."""

from __future__ import annotations

from pathlib import Path

import click

from visionbus.cli.broker.running import ending_on_sigterm, run_until_told, say
from visionbus.cli.options import verbose_option

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

    with (
        ending_on_sigterm(),
        KafkaCluster(nodes, data, port=port, usual=USUAL_PORT, report=say) as cluster,
    ):

        def announce() -> None:
            click.echo(cluster.url)
            say(f"ready: visionbus demo --bus {cluster.url}")

        run_until_told(cluster, announce)
    say("Kafka ended")
