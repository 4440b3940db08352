"""The `visionbus` command: a table of its subcommands, each imported only when it is run."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from visionbus import __version__
from visionbus.cli.errors import INTERRUPTED, PIPE_CLOSED, drop_stdout, report
from visionbus.cli.hints import HintingGroup
from visionbus.cli.verbosity import Verbosity, verbose_option

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {  # name -> where it is, and what `visionbus --help` says of it
    "demo": ("visionbus.cli.demo.command:demo", "See the whole system classify 10,000 images, and check every answer."),
    "worker": ("visionbus.cli.worker:worker", "Classify the images that come over the bus."),
    "send": ("visionbus.cli.send:send", "Publish images to be classified."),
    "results": ("visionbus.cli.results:results", "Store the answers, or print them."),
    "data": ("visionbus.cli.data:data", "Look at data before anything is trained."),
    "train": ("visionbus.cli.train:train", "Train a classifier and write its model file."),
    "evaluate": ("visionbus.cli.evaluate:evaluate", "Measure a model on a data set."),
    "predict": ("visionbus.cli.predict:predict", "Classify image files, without a bus."),
    "bus": ("visionbus.cli.bus:bus", "Declare, send, receive and look at dead letters on any bus."),
    "broker": ("visionbus.cli.broker:broker", "Run a real message broker here, for development and tests."),
}


class Commands(HintingGroup):
    """The group: it knows its commands by name alone until one is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is no click command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; being interrupted, or left by stdout's reader, ends it without an error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            drop_stdout()
            ctx.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            click.echo("visionbus: interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        """List the commands for --help from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="visionbus", message="%(prog)s %(version)s")
@verbose_option
def visionbus() -> None:
    """Train image classifiers, and run them over a message bus with nothing lost.

    \b
    Examples:
      visionbus demo                              everything at once, checked
      visionbus worker --processes 2              classify what is sent, on two cores
      visionbus results --store answers.db        keep the answers in a database
      visionbus send photos/                      publish a folder of images
      visionbus predict photos/shoe.png           classify without a bus

    The bus is named by --bus or by VISIONBUS_URL; by default it is the file visionbus.db here.
    Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 reader gone, 143 ended by SIGTERM.
    """  # noqa: D301 (click reads \b)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, sys.argv's by default, and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file name need not be text
    verbosity = Verbosity()
    try:
        outcome = visionbus.main(arguments, prog_name="visionbus", standalone_mode=False, obj=verbosity)
        sys.stdout.flush()
        sys.exit(outcome if isinstance(outcome, int) else 0)
    except BrokenPipeError:
        drop_stdout()
        sys.exit(PIPE_CLOSED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("visionbus: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the one boundary: each is reported, none is swallowed)
        sys.exit(report(error, verbosity))
