"""Runs a program as a process of its own, and says what the whole of it took."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a process took from its start to its end, with all processes that it had waited for.

    Attributes:
        wall: seconds.
        cpu: seconds of all cores, user and system.
        mib: the largest resident set of any one of its processes.
        text: what it wrote to stdout.
    """

    wall: float
    cpu: float
    mib: float
    text: str


class OverdueError(Exception):
    """A program took longer than it may; it and its processes were ended."""


class FailedError(Exception):
    """A program ended with an error, which the message shows."""


def run(command: list[str], folder: Path, *, seconds: float, environment: Mapping[str, str] | None = None) -> Run:
    """Run a program in a folder, for some seconds at most.

    Raises:
        OverdueError: if it took longer.
        FailedError: if its exit status was not 0.
    """
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        overdue = Event()
        late = Timer(seconds, _end, (process.pid, overdue))
        late.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
        finally:
            late.cancel()
            _end(process.pid, Event())
        process.returncode = os.waitstatus_to_exitcode(status)
    if overdue.is_set():
        raise OverdueError(f"more than {seconds:.0f} s")
    if process.returncode:
        said = err.read_text(errors="replace")[-3000:]
        raise FailedError(f"exit status {process.returncode} of {' '.join(command)}\n{said}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read_text(errors="replace"))


def _end(group: int, said: Event) -> None:
    """End what is left of a process group, after saying so."""
    said.set()
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
