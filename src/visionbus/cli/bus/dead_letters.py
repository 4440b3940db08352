"""`visionbus bus dead-letters`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from visionbus.cli.bus.deliveries import BATCH, HELD, PEEK_TIMEOUT, batches, document
from visionbus.cli.options import bus_option, json_option, verbose_option
from visionbus.cli.output import one_line, print_json
from visionbus.messaging import connect_blocking, dead_letters
from visionbus.messaging.names import DEAD_LETTERS, dead_letter_topic

if TYPE_CHECKING:
    from visionbus.messaging import Delivery


@click.command("dead-letters", short_help="Show what was given up; send it again, or remove it.")
@click.argument("topic")
@click.argument("subscription")
@click.option("--redrive", is_flag=True, help="Send the originals to TOPIC again, for all its subscriptions.")
@click.option("--purge", is_flag=True, help="Remove them.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), default=HELD, show_default=True, help="At most N.")
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0),
    default=PEEK_TIMEOUT,
    show_default=True,
    help="Seconds to wait for one more.",
)
@bus_option
@json_option
@verbose_option
def list_dead_letters(
    topic: str, subscription: str, count: int, timeout: float, bus: str, *, redrive: bool, purge: bool, as_json: bool
) -> None:
    """Show what SUBSCRIPTION of TOPIC has given up: id, attempts, when it was published, its first id, and why.

    They stay where they are, unless --redrive or --purge says otherwise. A letter is removed only after its
    original was sent again.

    \b
    Examples:
      visionbus bus dead-letters images workers
      visionbus bus dead-letters images workers --redrive
      visionbus bus dead-letters images workers --purge --count 10
    """  # noqa: D301 (click reads \b)
    if redrive and purge:
        raise click.UsageError("--redrive and --purge exclude each other: choose one")
    letters_topic = dead_letter_topic(topic, subscription)
    if not letters_topic:
        raise click.UsageError(f"{topic} holds dead letters: name the topic that they come from")
    with (
        connect_blocking(bus) as connection,
        connection.subscribe(letters_topic, DEAD_LETTERS, max_in_flight=count) as receiver,
    ):
        letters = [one for batch in batches(receiver, count, timeout) for one in batch]
        done = 0
        for start in range(0, len(letters) if redrive or purge else 0, BATCH):
            batch = letters[start : start + BATCH]
            if redrive:
                batch = [one for one in batch if dead_letters.LEFT_OUT not in one.message.attributes]
                connection.send(topic, *(dead_letters.original(one.message) for one in batch))
            receiver.ack(*batch)
            done += len(batch)
    if as_json:
        print_json([document(one) | _story(one) for one in letters])
        return
    for one in letters:
        story = _story(one)
        click.echo(
            f"{one.id} attempts {story['attempts']} published {story['published']} "
            f"from {story['source_id']}: {one_line(str(story['reason']))}"
        )
    if redrive or purge:
        click.echo(f"{'sent again' if redrive else 'removed'} {done}")
    if redrive and done < len(letters):
        click.echo(f"{len(letters) - done} stay: their data was left out, being more than the broker took", err=True)


def _story(letter: Delivery) -> dict[str, str | int | None]:
    """Say what a dead letter tells of its original."""
    attributes = letter.message.attributes
    attempts = attributes.get(dead_letters.ATTEMPTS, "")
    return {
        "reason": attributes.get(dead_letters.REASON),
        "source_topic": attributes.get(dead_letters.SOURCE_TOPIC),
        "source_subscription": attributes.get(dead_letters.SOURCE_SUBSCRIPTION),
        "source_id": attributes.get(dead_letters.SOURCE_ID),
        "attempts": int(attempts) if attempts.isdecimal() else None,
        "published": attributes.get(dead_letters.PUBLISHED),
    }
