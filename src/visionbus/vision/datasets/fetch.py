"""Fetches the files of Fashion-MNIST: from the publisher, or out of Debian's package."""

import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from visionbus.vision.datasets import idx
from visionbus.vision.errors import DatasetError
from visionbus.vision.files import replacing

#: The publisher's repository, at a fixed commit.
PUBLISHER = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
)
PACKAGE = "dataset-fashion-mnist"
_MAX_BYTES = 64 * 2**20  # of one file; the largest has 27 million
_PATIENCE = 15.0  # seconds without a byte from the publisher
_APT_PATIENCE = 300.0  # seconds for one command


def fetch(sha256: Mapping[str, str], folder: Path) -> None:
    """Fetch the files, gzipped, into `folder`; each appears there complete and checked. Safe in two processes at once.

    Args:
        sha256: the SHA-256 of each file's content, unpacked, by the file's name without `.gz`.
        folder: created if it does not exist.

    Raises:
        DatasetError: if every source fails; the message has the reason for each.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(sha256, folder)
    except (OSError, http.client.HTTPException, DatasetError) as error:
        try:
            _unpack_from_debian(sha256, folder)
        except (OSError, subprocess.SubprocessError, DatasetError) as second:
            raise DatasetError(
                f"Fashion-MNIST is not on this machine and could not be fetched (from {PUBLISHER}: {error}; by apt-get "
                f"from Debian: {second}): install the Debian package {PACKAGE}, or put the four files into a "
                "folder and name it in VISIONBUS_DATA"
            ) from second


def is_intact(content: bytes, sha256: str) -> bool:
    """Return whether `content` has this SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest() == sha256


def _download(sha256: Mapping[str, str], folder: Path) -> None:
    for name, expected in sha256.items():
        url = f"{PUBLISHER}/{name}.gz"
        with (
            replacing(folder / f"{name}.gz") as temporary,
            urllib.request.urlopen(url, timeout=_PATIENCE) as answer,  # noqa: S310 (the URL is a constant, above)
        ):
            temporary.write_bytes(answer.read(_MAX_BYTES))
            _check(temporary, expected, url)


def _unpack_from_debian(sha256: Mapping[str, str], folder: Path) -> None:
    """Fetch the package with apt-get and unpack it, without installing it: needs no root, and uses its own lists."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise DatasetError("there is no apt-get on this machine")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for needed in ("lists/partial", "cache/archives/partial", "unpacked"):
            (root / needed).mkdir(parents=True)
        settings = {
            "Dir::State": root,
            "Dir::State::Lists": root / "lists",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": root / "cache",
            "Debug::NoLocking": 1,
            "APT::Sandbox::User": "root",  # that is: keep the user; another one could not write here
        }
        apt = ["apt-get", *(f"-o{key}={value}" for key, value in settings.items())]
        _run([*apt, "update", "-qq"], root)
        _run([*apt, "download", "-qq", PACKAGE], root)
        _run(["dpkg", "-x", *map(str, root.glob("*.deb")), "unpacked"], root)
        for name, expected in sha256.items():
            (source,) = (root / "unpacked").rglob(f"{name}.gz")
            _check(source, expected, PACKAGE)
            with replacing(folder / f"{name}.gz") as temporary:
                shutil.copyfile(source, temporary)


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603 (the commands are constants, above)
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_APT_PATIENCE, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise DatasetError(f"{command[0]} failed: {reason[-1] if reason else f'exit status {done.returncode}'}")


def _check(path: Path, expected: str, source: str) -> None:
    if not is_intact(idx.read_bytes(path), expected):
        raise DatasetError(f"{path.name} from {source} is not the expected file (its SHA-256 differs)")
