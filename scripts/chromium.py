"""Finds the Chromium in which tests look at the report, and installs Debian's where there is none."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def can_install() -> bool:
    """Tell whether apt-get knows Chromium and may install it."""
    return _apt() is not None and _run("--simulate", "install", NAMES[0])


def provide() -> None:
    """Install Chromium unless there is one; say what follows where that cannot be."""
    if find() or _apt() is None:
        missing = not find()
    else:
        print("installing Chromium by apt-get: tests look at the report in it", flush=True)
        known = can_install() or _run("update")
        missing = not (known and _run("install", "--yes", "--no-install-recommends", NAMES[0]))
    if missing:
        print("there is no Chromium: tests that look at the report in it are skipped (apt-get install chromium)")


def _apt() -> list[str] | None:
    """Return how apt-get is called with the rights to install; None if it cannot be."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() == 0:
        return [apt] if apt else None
    sudo = shutil.which("sudo")
    allowed = sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0
    return [sudo, "-n", apt] if sudo and allowed else None


def _run(*arguments: str) -> bool:
    """Call apt-get; tell whether it succeeded."""
    command = [*(_apt() or ()), "-qq", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False).returncode == 0
