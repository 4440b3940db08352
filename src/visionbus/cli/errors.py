"""What becomes of an error: one line with the cure on stderr, and the exit status."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
import traceback
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visionbus.cli.verbosity import Verbosity

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
PIPE_CLOSED = 141  # as a program that SIGPIPE ends
TERMINATED = 143  # as a program that SIGTERM ends

CURES = {
    errno.EACCES: "check the permissions",
    errno.EDQUOT: "free some space, or name another folder",
    errno.EEXIST: "name another file, or remove this one",
    errno.EISDIR: "name a file",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "free some space, or name another folder",
    errno.ENOTDIR: "name a folder",
    errno.EROFS: "name a place that can be written",
}


class Failure(click.ClickException):
    """A command's work has failed, as its one line says; exit status 1."""


def report(error: Exception, verbosity: Verbosity) -> int:
    """Print an error on stderr; give the exit status."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    leaves = list(_leaves(error))
    lines = [_one_line(leaf) for leaf in leaves]
    unexpected = next((leaf for leaf, line in zip(leaves, lines, strict=True) if line is None), None)
    if verbosity.count and not isinstance(error, click.ClickException):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if unexpected is not None:
        kind = type(unexpected).__name__
        _print_error(f"unexpected {kind}: {unexpected}; please report it with what -v prints (see CONTRIBUTING.md)")
        return FAILED
    for line in dict.fromkeys(filter(None, lines)):
        _print_error(line)
    return WRONG_USAGE if isinstance(leaves[0], click.UsageError) else FAILED


def drop_stdout() -> None:
    """Let what is still buffered for a reader that has gone be written nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(text: str) -> None:
    click.echo("visionbus: error: " + " ".join(text.split()), err=True)


def _leaves(error: Exception) -> Iterator[Exception]:
    """Take groups, as task groups raise them, apart."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _one_line(error: Exception) -> str | None:
    """Say what is wrong and what to do; None for an error that nobody foresaw."""
    if type(error).__module__.startswith("visionbus.") or (isinstance(error, ValueError) and _is_ours(error)):
        return str(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "visionbus"
        return f"{error.format_message()} (see {path} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ImportError):
        return _missing_extra(error)
    if isinstance(error, OSError):
        return _operating_system(error)
    return None


def _operating_system(error: OSError) -> str:
    where = f"{os.fspath(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
    return where + without_path(error)


def without_path(error: OSError) -> str:
    """Say what the operating system could not do, and what to do about it, but not with which file."""
    what = error.strerror or str(error)
    cure = CURES.get(error.errno or 0)
    return f"{what[:1].lower()}{what[1:]}" + (f": {cure}" if cure else "")


def _is_ours(error: ValueError) -> bool:
    """Tell whether our code raised it, about what the user gave; a library's own is a mistake of ours."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("visionbus.")


def _missing_extra(error: ImportError) -> str | None:
    """Name the pip line for a module that one of our extras brings."""
    missing = (error.name or "").partition(".")[0]
    brings: dict[str, set[str]] = {}  # extra -> modules
    for requirement in metadata.requires("visionbus") or []:
        if found := re.fullmatch(r"([\w.-]+).*; extra == ['\"](\w+)['\"]", requirement):
            brings.setdefault(found[2], set()).add(found[1].replace("-", "_"))
    extras = [extra for extra, modules in brings.items() if missing in modules]
    if not extras:
        return None
    smallest = min(extras, key=lambda extra: (len(brings[extra]), extra == "all"))
    return f"{missing} is not installed: {pip_line(smallest)}"


def pip_line(extra: str) -> str:
    """Give the command that brings an extra to this very installation, be it from a checkout, a wheel or an index."""
    import json  # noqa: PLC0415 (start-up does not wait for it)

    origin = json.loads(metadata.distribution("visionbus").read_text("direct_url.json") or "{}")
    path = unquote(urlsplit(origin.get("url", "")).path)
    source = path if path and os.path.exists(path) else "visionbus"  # noqa: PTH110 (no pathlib for one look)
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"{shlex.quote(sys.executable)} -m pip install {editable}{shlex.quote(f'{source}[{extra}]')}"
