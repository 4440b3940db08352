"""`visionbus broker pubsub`."""

from __future__ import annotations

import click

from visionbus.cli.broker.running import ending_on_sigterm, run_until_told, say
from visionbus.cli.options import verbose_option

USUAL_PORT = 8085


@click.command()
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(1, 65535),
    help="Its port. Default: 8085, or another if that is taken.",
)
@verbose_option
def pubsub(port: int | None) -> None:
    """Run Google's emulator of Pub/Sub on 127.0.0.1 until Ctrl-C or SIGTERM; print its URL when it is ready.

    The emulator is a component of the Google Cloud SDK (gcloud components install pubsub-emulator); its jar may also be
    named in PUBSUB_EMULATOR_JAR. It keeps nothing when it ends. Programs find it by the variable PUBSUB_EMULATOR_HOST:
    the line that sets it is printed too.

    \b
    Examples:
      visionbus broker pubsub
      visionbus broker pubsub --port 8090
    """  # noqa: D301 (click reads \b)
    from visionbus.brokers.pubsub import VARIABLE, PubsubEmulator  # noqa: PLC0415 (--help does not wait for it)

    with ending_on_sigterm(), PubsubEmulator(port=port, usual=USUAL_PORT, report=say) as emulator:

        def announce() -> None:
            click.echo(emulator.url)
            say(f"export {VARIABLE}={emulator.host}")
            say(f"ready: {VARIABLE}={emulator.host} visionbus demo --bus {emulator.url}")

        run_until_told(emulator, announce)
    say("the Pub/Sub emulator ended")
