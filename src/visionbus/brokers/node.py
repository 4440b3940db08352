"""One Kafka server as a process of ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from visionbus.brokers.errors import StartError
from visionbus.brokers.process import BrokerProcess, telling
from visionbus.brokers.properties import LOGGING, as_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path


class Node(BrokerProcess):
    """A Kafka server: formatted once, then started and ended any number of times, on the same ports and data.

    `java`: the command line up to the class path.
    """

    def __init__(self, number: int, folder: Path, java: Sequence[str], starter: Executor) -> None:
        self._java = [*java[:1], f"-Djava.io.tmpdir={folder / 'tmp'}", *java[1:]]
        command = [*self._java, "kafka.Kafka", str(folder / "server.properties")]
        super().__init__(f"Kafka's node {number}", command, folder / "log.txt", starter)
        self.storage = folder / "data"
        self._folder = folder
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "log4j2.xml").write_text(LOGGING, encoding="ascii")

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
            raise StartError(f"Kafka cannot format {self.storage}: {telling(done.stdout + done.stderr)}")
        part.rename(self.storage)

    def _write(self, name: str, content: str) -> None:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="ascii")
