"""Google's own emulator of Cloud Pub/Sub on this machine's loopback, for development and tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from visionbus.brokers.errors import InstallError, StartError
from visionbus.brokers.java import find_java
from visionbus.brokers.ports import HOST, free_ports, preferred_port, start_on_free_ports
from visionbus.brokers.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PROJECT = "visionbus"  # the emulator has every project
JAR = "PUBSUB_EMULATOR_JAR"  # the environment variable that names the emulator's jar
VARIABLE = "PUBSUB_EMULATOR_HOST"  # the environment variable by which Google's clients, and ours, find an emulator
CURE = f"install it by: gcloud components install pubsub-emulator, or name its jar in {JAR}"
PATIENCE = 60.0  # seconds that it gets to be ready
_IN_SDK = "platform/pubsub-emulator/lib"
_READY = "Server started, listening on"
_ASKING = 30.0  # seconds that gcloud gets to say where it is
_PAUSE = 0.02  # seconds between two looks at an emulator that is starting
_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")  # small, and quick to start


class PubsubEmulator:
    """The Pub/Sub emulator on 127.0.0.1, to be used in `with`; it keeps nothing over a restart.

    `port`: by default `usual`, if that is given and free, or a free one. `project`: for `url` alone, as the emulator
    has every project. `report` is told what takes time. Clients find it by PUBSUB_EMULATOR_HOST, which is to have the
    value of `host`.

    Its process ends with the block, and (on Linux) with this process, however it dies.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        usual: int | None = None,
        project: str = PROJECT,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.url = f"pubsub://{project}"
        self._asked = port
        self._usual = usual
        self._port = 0
        self._report = report
        self._closing = ExitStack()
        self._started: BrokerProcess | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it serves.

        Raises:
            InstallError: if the emulator or Java is not there.
            StartError: if it does not start; `PortError` if the port that was asked for is taken.
        """
        with ExitStack() as opening:
            jar = find_jar()
            java = find_java()
            made = tempfile.TemporaryDirectory(prefix="visionbus-pubsub-", ignore_cleanup_errors=True)
            folder = Path(opening.enter_context(made))
            starter = opening.enter_context(
                ThreadPoolExecutor(1, "pubsub-starter")
            )  # its thread's end ends the process
            self._report("starting the Pub/Sub emulator")
            opening.callback(self._end)
            command = [str(java), f"-Djava.io.tmpdir={folder}", *_FLAGS, "-jar", str(jar)]
            start_on_free_ports(lambda: self._start(command, folder, starter), self._end)
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it at once: it has nothing to keep."""
        self._closing.close()

    @property
    def host(self) -> str:
        """Where it listens: `127.0.0.1:8085`."""
        return f"{HOST}:{self._port}"

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self._process.log

    def start(self) -> None:
        """Start it again after it was ended, empty and on the same port, and wait until it serves.

        Raises:
            StartError: if it does not start.
        """
        self._process.start()
        self._wait()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would; its data is gone."""
        self._process.kill()

    def freeze(self) -> None:
        """Stop it by SIGSTOP: connections stay, and nothing comes from it."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._process.signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise `StartError` if it has ended by itself."""
        self._process.check()

    @property
    def _process(self) -> BrokerProcess:
        if self._started is None:
            raise StartError("the Pub/Sub emulator was not started: use it in `with`")
        return self._started

    def _start(self, command: list[str], folder: Path, starter: ThreadPoolExecutor) -> None:
        self._port = preferred_port(self._asked, self._usual, self._report) or free_ports(1)[0]
        arguments = [f"--host={HOST}", f"--port={self._port}"]
        self._started = BrokerProcess("the Pub/Sub emulator", [*command, *arguments], folder / "log.txt", starter)
        self.start()

    def _end(self) -> None:
        if self._started is not None:
            self._started.kill()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while _READY not in self._process.said:
            self.check()
            if time.monotonic() > deadline:
                raise StartError(f"the Pub/Sub emulator is not ready after {PATIENCE:g} s; it says: {self.log[-1000:]}")
            time.sleep(_PAUSE)  # nothing tells us when it is


def find_jar() -> Path:
    """Return the path of the emulator's jar: the one that PUBSUB_EMULATOR_JAR names, or that of the Cloud SDK.

    Raises:
        InstallError: if there is none; the text says how to get it.
    """
    if named := os.environ.get(JAR):
        if not Path(named).is_file():
            raise InstallError(f"{JAR} names {named}, which is no file: {CURE}")
        return Path(named)
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise InstallError(f"there is no Pub/Sub emulator, as there is no Cloud SDK (gcloud) on the PATH: {CURE}")
    found = sorted((_sdk(gcloud) / _IN_SDK).glob("cloud-pubsub-emulator-*-all.jar"), key=_version)
    if not found:
        raise InstallError(f"the Cloud SDK has no Pub/Sub emulator: {CURE}")
    return found[-1]


def _sdk(gcloud: str) -> Path:
    """Return where the Cloud SDK is, as it says itself."""
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASKING)  # noqa: S603 (from PATH)
    except subprocess.TimeoutExpired:
        raise InstallError(f"{gcloud} does not say within {_ASKING:g} s where the Cloud SDK is: {CURE}") from None
    if said.returncode or not said.stdout.strip():
        raise InstallError(f"{gcloud} does not say where the Cloud SDK is ({said.stderr.strip()[-200:]}): {CURE}")
    return Path(said.stdout.strip())


def _version(jar: Path) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", jar.name)]
