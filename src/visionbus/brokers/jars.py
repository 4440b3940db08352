"""Fetches the jars of Apache Kafka from Maven Central, once, into the cache."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from visionbus.brokers.errors import InstallError
from visionbus.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSION = "4.3.1"  # of Apache Kafka
COORDINATES = (
    f"org.apache.kafka:kafka-clients:{VERSION}",  # first: jgo would choose an older one, which another asks for
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    f"org.apache.kafka:kafka-server:{VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
    "org.apache.logging.log4j:log4j-core:2.25.4",
)
_PATIENCE = 600.0  # seconds for all downloads
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>visionbus</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies>{}</dependencies></project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def kafka_jars(java: Path, report: Callable[[str], None] = lambda _: None) -> Path:
    """Return the folder that holds all jars of Apache Kafka; they are fetched (44 MB) unless the cache has them.

    The folder appears complete or not at all; processes that need it at once wait for the one that fetches.
    jgo fetches (its own configuration names mirrors), or else Maven, which goes by its settings.xml.

    Raises:
        InstallError: if neither jgo nor Maven is there, or both fail.
    """
    folder = cache_folder(f"kafka-{VERSION}")
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():  # nobody else fetched it meanwhile
            report(f"fetching Apache Kafka {VERSION} into {folder} (44 MB, once)")
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # what one that was killed has left
            _fetch(java, part)
            _publish(part, folder)
    return folder


def _fetch(java: Path, part: Path) -> None:
    """Have the first of jgo and Maven that can do it put the jars somewhere below `part`."""
    failures = []
    for fetch in (_by_jgo, _by_maven):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        failure = fetch(java, part)
        if not failure and list(part.rglob(f"kafka_2.13-{VERSION}.jar")):
            return
        failures.append(failure or f"{fetch.__name__.removeprefix('_by_')} brought no Kafka")
    shutil.rmtree(part)
    raise InstallError(
        f"cannot fetch Apache Kafka: {'; '.join(failures)}. It comes from Maven Central: check the network, "
        "or name a mirror in ~/.config/jgo.conf under [repositories]"
    )


def _by_jgo(java: Path, part: Path) -> str:
    """Fetch by the package jgo; return what went wrong, if anything did."""
    if importlib.util.find_spec("jgo") is None:
        return "jgo is not installed (pip install 'visionbus[brokers]')"
    return _run(
        [
            *(sys.executable, "-m", "jgo", "--class-path-only", "--system-java", "--links", "copy"),
            *("--cache-dir", str(part / "jgo"), "--repo-cache", str(part / "repository")),
            *("info", "classpath", "+".join(COORDINATES)),
        ],
        part,
        java,
    )


def _by_maven(java: Path, part: Path) -> str:
    """Fetch by Maven; return what went wrong, if anything did."""
    maven = shutil.which("mvn")
    if not maven:
        return "Maven (mvn) is not on the PATH"
    dependencies = "".join(_DEPENDENCY.format(*one.split(":")) for one in COORDINATES)
    (part / "pom.xml").write_text(_POM.format(dependencies), encoding="utf-8")
    return _run([maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={part / 'jgo'}"], part, java)


def _run(command: list[str], folder: Path, java: Path) -> str:
    name = os.path.basename(command[0]) if command[0] != sys.executable else command[2]  # noqa: PTH119 (a word)
    environment = os.environ | {"PATH": os.pathsep.join((str(java.parent), os.environ.get("PATH", os.defpath)))}
    try:
        done = subprocess.run(  # noqa: S603 (our own command)
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"{name} took more than {_PATIENCE:g} s"
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return f"{name} ended with status {done.returncode}: {' '.join(lines[-3:])}" if done.returncode else ""


def _publish(part: Path, folder: Path) -> None:
    """Make the folder of jars out of what was fetched."""
    jars = part / "jars"
    jars.mkdir()
    for path in (part / "jgo").rglob("*.jar"):
        path.replace(jars / path.name)
    jars.replace(folder)
    shutil.rmtree(part)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
