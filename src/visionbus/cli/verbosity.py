"""-v: how much a command says on stderr about what it does."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import click

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


@dataclass(slots=True)
class Verbosity:
    """How often -v was given; at once or more, unexpected errors show their traceback."""

    count: int = 0


def _raise_level(ctx: click.Context, _parameter: click.Parameter, count: int) -> None:
    verbosity = ctx.ensure_object(Verbosity)
    verbosity.count = max(verbosity.count, count)
    level = LEVELS[min(verbosity.count, len(LEVELS) - 1)]
    logging.basicConfig(format="visionbus: %(levelname)s: %(message)s")
    logging.getLogger("visionbus").setLevel(level)
    logging.getLogger("stamina").setLevel(logging.ERROR)  # the service says what is tried again, and why


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_raise_level,
    help="Say what is done, on stderr; twice for more. Unexpected errors show their traceback.",
)
