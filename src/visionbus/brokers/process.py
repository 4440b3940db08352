"""A broker's process, which is ours: started and ended any number of times, with one log."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import TYPE_CHECKING

from visionbus.brokers.errors import PortError, StartError
from visionbus.lifetime import tied

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor
    from pathlib import Path

_GRACE = 20.0  # seconds that a broker gets to write its data and say goodbye to the others
_TOLD = 4  # lines of the log that an error shows
_PORT_IS_TAKEN = "Address already in use"


class BrokerProcess:
    """The process of a broker that is called `name`, with this command line and this file for what it prints.

    Processes are started in the one thread of `starter`, and end with that thread at the latest.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, starter: Executor) -> None:
        self._name = name
        self._command = command
        self._log = log
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0  # bytes of the log before the last start

    @property
    def log(self) -> str:
        """All that its processes have printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    @property
    def said(self) -> str:
        """What it has printed since its last start."""
        return self._log.read_bytes()[self._said :].decode(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a process, unless one is running; whether it is ready is not waited for."""
        if not self.running:
            self._starter.submit(self._spawn).result()

    def _spawn(self) -> None:
        self._said = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                tied(*self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for us to handle
            )

    def check(self) -> None:
        """Raise `StartError`, or `PortError`, if it has ended by itself, or lives without its port."""
        if self._process is None:
            return
        said = self.said
        if _PORT_IS_TAKEN in said:
            raise PortError(f"{self._name} cannot have its port; its log says: {telling(said)}")
        if (status := self._process.poll()) is not None:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise StartError(f"{self._name} {how}; its log says: {telling(said)}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is running."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.signal(signal.SIGKILL)
        self._wait(None)

    def stop(self) -> None:
        """End it by SIGTERM, as an operator does; by SIGKILL if that takes too long."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._wait(_GRACE)

    def _wait(self, timeout: float | None) -> None:
        process, self._process = self._process, None
        if process:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def telling(text: str) -> str:
    """Pick what tells most of a log: the last lines that speak of a failure, or else the last ones."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))]
    failures = [line for line in lines if re.search(r"ERROR|FATAL|Exception|[Ee]rror:", line)]
    return "\n".join((failures or lines)[-_TOLD:])
