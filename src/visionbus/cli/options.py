"""The options that several commands share, as decorators."""

from __future__ import annotations

from pathlib import Path

import click

from visionbus.cli.verbosity import verbose_option
from visionbus.messaging.bus import DEFAULT_URL

__all__ = ["bus_option", "json_option", "model_option", "topic_option", "verbose_option"]

MEMORY_NOTE = "memory:// is for one process only and ends with it; to share a bus, use sqlite:///FILE"


def _noting_memory(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    if url.startswith("memory:"):
        click.echo(MEMORY_NOTE, err=True)
    return url


bus_option = click.option(
    "--bus",
    metavar="URL",
    envvar="VISIONBUS_URL",
    default=DEFAULT_URL,
    callback=_noting_memory,
    show_default=True,
    show_envvar=True,
    help="The message bus, as in sqlite:///FILE.",
)

topic_option = click.option(
    "--topic",
    metavar="PREFIX",
    default="visionbus",
    show_default=True,
    help="The topics are PREFIX.requests and PREFIX.answers.",
)

model_option = click.option(
    "--model",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_default="the shipped Fashion-MNIST model",
    help="The model file.",
)

allow_broken_option = click.option(
    "--allow-broken",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="The share of DATA's files that may be broken.",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document, and nothing else, on stdout.",
)
