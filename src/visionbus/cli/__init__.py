"""The command line, `visionbus`: each module parses, calls the libraries and prints; `docs/cli.md` describes it."""

from visionbus.cli.group import main

__all__ = ["main"]
