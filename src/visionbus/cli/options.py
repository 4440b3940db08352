"""The options that several commands share, as decorators."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visionbus.cli.verbosity import verbose_option
from visionbus.messaging.bus import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "bus_option",
    "data_options",
    "json_option",
    "model_option",
    "topic_option",
    "verbose_option",
]

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

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document, and nothing else, on stdout.",
)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how data is opened; the command gets their values as `columns` and `checks`."""

    @click.option("--path-column", metavar="NAME", show_default="guessed", help="The table's column of paths.")
    @click.option("--label-column", metavar="NAME", show_default="guessed", help="The table's column of classes.")
    @click.option("--split-column", metavar="NAME", show_default="guessed", help="The table's column of splits.")
    @click.option(
        "--images",
        metavar="FOLDER",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        show_default="the table's folder",
        help="The folder that the table's paths start from.",
    )
    @click.option(
        "--allow-broken",
        metavar="SHARE",
        type=click.FloatRange(0, 1),
        default=0.1,
        show_default=True,
        help="The share of DATA's files that may be broken.",
    )
    @click.option("--keep-leaks", is_flag=True, help="Keep images in validation and test that leak.")
    @click.option("--outside", is_flag=True, help="Read files outside of DATA's folder, too, where links lead there.")
    @wraps(command)
    def with_values(
        *,
        path_column: str | None,
        label_column: str | None,
        split_column: str | None,
        images: Path | None,
        allow_broken: float,
        keep_leaks: bool,
        outside: bool,
        **others: object,
    ) -> None:
        from visionbus.vision.datasets import Checks, Columns  # noqa: PLC0415 (--help does not wait for numpy)

        columns = Columns(path_column, label_column, split_column, images)
        command(columns=columns, checks=Checks(allow_broken, keep_leaks, outside), **others)

    return with_values
