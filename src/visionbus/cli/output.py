"""How commands print: one JSON document, or one fact a line; and a bar, while images are decoded."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visionbus.vision.datasets import Decoding


def print_json(document: object) -> None:
    """Print a value as one JSON document, in ASCII, so that it survives any locale."""
    click.echo(json.dumps(document, indent=2))


def one_line(text: str) -> str:
    """Make one printable line of what somebody else wrote."""
    return "".join(character if character.isprintable() else " " for character in text)


@contextmanager
def decoding() -> Iterator[Decoding]:
    """Give what opens data with a bar on stderr, where that is a terminal."""
    from rich.console import Console  # noqa: PLC0415 (--help does not wait for it)
    from rich.progress import Progress  # noqa: PLC0415 (the same)

    from visionbus.vision.datasets import Decoding  # noqa: PLC0415 (nor for numpy)

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("decoding", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield Decoding(progress=advance)
