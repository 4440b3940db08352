"""Makes .venv and installs into it what a make target needs; run by make as `python3 scripts/install.py demo`.

A second run with nothing changed is instant. pip brings uv, and uv brings the rest at the versions of constraints.txt;
where uv fails, pip does all of it.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (before anything that an older Python could not read)
    sys.exit(f"visionbus needs Python 3.11 or later, not {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

import chromium

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
UV = ROOT / "scripts" / "uv.py"
TORCH = (2, 7)  # the least that does
SIZE = (
    "on Linux about 3.3 GB to download and 6 GB on disk, as CUDA is in it; elsewhere a tenth of that.\n"
    "Without an NVIDIA GPU, UV_TORCH_BACKEND=cpu before `make` takes the small one of pytorch.org instead (0.2 GB)"
)
BACKEND = os.environ.get("UV_TORCH_BACKEND")
PROFILES = {  # what each needs: pairs of a flag and its value
    "demo": [],
    "train": ["--extra", "train", "--extra", "pretrained", "--extra", "parquet"],
    "bench": ["--extra", "kafka", "--extra", "pubsub", "--extra", "brokers", "--group", "bench"],
    "test": [
        *("--extra", "brokers", "--extra", "kafka", "--extra", "parquet", "--extra", "pretrained"),
        *("--extra", "pubsub", "--extra", "train"),
        *("--group", "dev"),
    ],
}


def main() -> None:
    """Install one profile, unless it or one that holds all of it is there already."""
    profile = sys.argv[1]
    with (ROOT / "pyproject.toml").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make, which is installing", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if any(_is_installed(one) and set(_pairs(profile)) <= set(_pairs(one)) for one in PROFILES):
            return
        print(f"installing into {VENV} what `make {profile}` needs", flush=True)
        _make_venv()
        without = _torch_of_ones_own() if profile == "train" else ()
        _install(profile, without)
        _run(PYTHON, "-m", "compileall", "-q", "src")
        if profile == "test":
            chromium.provide()
        _stamp(profile).write_text(_state())


def _pairs(profile: str) -> list[tuple[str, str]]:
    what = PROFILES[profile]
    return list(zip(what[::2], what[1::2], strict=True))


def _stamp(profile: str) -> Path:
    return VENV / f".installed-{profile}"


def _is_installed(profile: str) -> bool:
    return _stamp(profile).is_file() and _stamp(profile).read_text() == _state()


def _state() -> str:
    """Tell apart what would need another installation: the files that say what to install, the place, the Python."""
    state = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, UV, Path(__file__)):
        state.update(path.read_bytes())
    return state.hexdigest()


def _make_venv() -> None:
    if (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    ):
        return
    missing = [name for name in ("venv", "ensurepip") if not importlib.util.find_spec(name)]
    if missing:
        sys.exit(
            f"{sys.executable} has no {' and no '.join(missing)}: install it (Debian, Ubuntu: apt-get install "
            "python3-venv), or name another Python: make PYTHON=/path/to/python3"
        )
    _run(sys.executable, "-m", "venv", "--clear", VENV)


def _torch_of_ones_own() -> tuple[str, ...]:
    """Find a torch that is there, in .venv or in the Python that runs this, and name what is then not to be installed.

    Where there is none, say what its download will take.
    """
    (packages,) = VENV.glob("lib/python3*/site-packages")
    same = packages.parent.name == f"python3.{sys.version_info.minor}"
    found = _torch([str(packages)]) or (_torch(sys.path) if same else None)
    if found is None or tuple(map(int, found.version.split(".")[:2])) < TORCH:
        size = (
            f"that of pytorch.org which UV_TORCH_BACKEND={BACKEND} names (cpu: 0.2 GB to download)" if BACKEND else SIZE
        )
        print(f"torch comes with it: {size}", flush=True)
        return ()
    place = Path(str(found.locate_file("")))
    print(f"the torch {found.version} in {place} is used", flush=True)
    if place != packages:
        (packages / "torch-of-ones-own.pth").write_text(f"{place}\n")  # behind what is in .venv itself
    pinned = dict(line.split()[0].split("==") for line in CONSTRAINTS.read_text().splitlines())["torch"]
    return ("torch",) if found.version.partition("+")[0] == pinned else ("torch", "torchvision", "timm")


def _torch(path: list[str]) -> Distribution | None:
    return next(iter(distributions(name="torch", path=path)), None)


def _install(profile: str, without: tuple[str, ...] = ()) -> None:
    """Install the project's dependencies, then the project itself where it is not: what runs meanwhile goes on."""
    _run(PYTHON, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, "uv")
    # Compiled once, as pip does too: tests and services start many processes, which may not be let write bytecode.
    uv: list[str | Path] = [PYTHON, UV, "pip", "install", "--compile-bytecode"]
    uv += ["--python", PYTHON, "--constraint", CONSTRAINTS]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.writelines(f"{name} ; python_version < '3'\n" for name in without)  # never: so it is left out
        overrides.flush()
        left_out = ["--overrides", overrides.name] if without else []  # uv warns of an empty file
        commands = [[*uv, *left_out, "--requirements", "pyproject.toml", *PROFILES[profile]]]
        if not any(_is_installed(one) for one in PROFILES):
            commands.append([*uv, "--build-constraints", CONSTRAINTS, "--no-deps", "--editable", "."])
        for command in commands:
            if subprocess.run(command, cwd=ROOT, check=False).returncode:
                if BACKEND:
                    sys.exit(
                        "uv failed, and pip knows no UV_TORCH_BACKEND: if it is download.pytorch.org that cannot be "
                        f"reached, leave it out; torch comes with it then: {SIZE.splitlines()[0]}"
                    )
                print("uv failed; pip does it instead, more slowly", flush=True)
                _install_by_pip(profile)
                return


def _install_by_pip(profile: str) -> None:
    extras = [value for flag, value in _pairs(profile) if flag == "--extra"]
    groups = [f"--group={value}" for flag, value in _pairs(profile) if flag == "--group"]
    _run(PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")  # the first that knows --group
    _run(PYTHON, "-m", "pip", "install", "-c", CONSTRAINTS, *groups, "-e", f".[{','.join(extras)}]" if extras else ".")


def _run(*command: str | Path) -> None:
    finished = subprocess.run(command, cwd=ROOT, check=False)
    if finished.returncode:
        sys.exit(f"failed, with status {finished.returncode}: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
