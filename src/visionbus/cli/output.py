"""How commands print: one JSON document, or one fact a line."""

from __future__ import annotations

import json

import click


def print_json(document: object) -> None:
    """Print a value as one JSON document, in ASCII, so that it survives any locale."""
    click.echo(json.dumps(document, indent=2))


def one_line(text: str) -> str:
    """Make one printable line of what somebody else wrote."""
    return "".join(character if character.isprintable() else " " for character in text)
