"""Processes that end with the one that started them, however that one dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

ENDED = 1  # exit status of a process that ends because its parent has
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, from linux/prctl.h


def end_with(parent: int) -> None:
    """Have this process end when `parent` does: by the kernel where it can, even when stopped; else by its pipe.

    The pipe is the standard input, which the parent holds open.
    """
    _tie_to(parent)
    threading.Thread(target=_end_with_stdin, name="supervisor", daemon=True).start()


def tied(*command: str) -> list[str]:
    """Return the command line that runs another program, which ends when the thread that starts it does (Linux only).

    It is a thread, not a process, that the kernel waits for (PR_SET_PDEATHSIG, see prctl(2)): start it in one that
    lives as long as the program is to.
    """
    code = "from visionbus.lifetime import become; become()"
    return [sys.executable, "-P", "-c", code, str(os.getpid()), *command]


def become() -> None:
    """Turn this process, as `tied` starts it, into the program of its command line."""
    _tie_to(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (the command is our own)


def _tie_to(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this was set
        os._exit(ENDED)


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(ENDED)
