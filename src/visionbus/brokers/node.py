"""One Kafka server as a process of ours."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

from visionbus.brokers.errors import PortError, StartError
from visionbus.brokers.properties import LOGGING, as_file
from visionbus.lifetime import tied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

_GRACE = 20.0  # seconds that a node gets to write its data and say goodbye to the others
_TOLD = 4  # lines of the log that an error shows


class Node:
    """A Kafka server: formatted once, then started and ended any number of times, on the same ports and data.

    `java`: the command line up to the class path. Processes are started in the one thread of `starter`, and end with
    that thread at the latest.
    """

    def __init__(self, number: int, folder: Path, java: Sequence[str], starter: Executor) -> None:
        self.number = number
        self.storage = folder / "data"
        self._folder = folder
        self._log = folder / "log.txt"
        self._java = [*java[:1], f"-Djava.io.tmpdir={folder / 'tmp'}", *java[1:]]
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None
        self._said = 0  # bytes of the log before the last start
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "log4j2.xml").write_text(LOGGING, encoding="ascii")

    @property
    def log(self) -> str:
        """All that the node's processes have printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    @property
    def running(self) -> bool:
        """Whether it has a process that lives."""
        return self._process is not None and self._process.poll() is None

    def configure(self, properties: Mapping[str, str], keystore: str = "") -> None:
        """Write the files that the next start reads; they may hold passwords."""
        self._write("server.properties", as_file(properties))
        self._write("keystore.pem", keystore)

    @property
    def keystore(self) -> Path:
        """The file with the server's key and certificate."""
        return self._folder / "keystore.pem"

    def format(self, cluster: str, arguments: Sequence[str]) -> None:
        """Prepare the storage unless it is; it appears complete or not at all.

        Raises:
            StartError: if Kafka cannot.
        """
        if self.storage.exists():
            return
        part = self._folder / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        path = self._folder / "server.properties"
        with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".properties", encoding="ascii") as file:
            file.write(path.read_text(encoding="ascii") + as_file({"log.dirs": str(part)}))  # the last one counts
            file.flush()
            done = subprocess.run(  # noqa: S603 (our own command)
                [
                    *self._java,
                    "kafka.tools.StorageTool",
                    "format",
                    f"--cluster-id={cluster}",
                    "-c",
                    file.name,
                    *arguments,
                ],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise StartError(f"Kafka cannot format {self.storage}: {_telling(done.stdout + done.stderr)}")
        part.rename(self.storage)

    def start(self) -> None:
        """Start a process, unless one is running; whether it is ready is not waited for."""
        if not self.running:
            self._starter.submit(self._spawn).result()

    def _spawn(self) -> None:
        command = tied(*self._java, "kafka.Kafka", str(self._folder / "server.properties"))
        self._said = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for us to handle
            )

    def check(self) -> None:
        """Raise `StartError`, or `PortError`, if its process has ended by itself."""
        if self._process is None or self._process.poll() is None:
            return
        status = self._process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = self._log.read_bytes()[self._said :].decode(errors="replace")
        kind = PortError if "Address already in use" in said else StartError
        raise kind(f"Kafka's node {self.number} {how}; its log says: {_telling(said)}")

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal, if it is running."""
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

    def _write(self, name: str, content: str) -> None:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="ascii")


def _telling(text: str) -> str:
    """Pick what tells most of a log: the last lines that speak of a failure, or else the last ones."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))]
    failures = [line for line in lines if re.search(r"ERROR|FATAL|Exception|[Ee]rror:", line)]
    return "\n".join((failures or lines)[-_TOLD:])
