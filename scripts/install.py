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
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
UV = ROOT / "scripts" / "uv.py"
PROFILES = {  # what each needs: pairs of a flag and its value
    "demo": [],
    "bench": ["--extra", "kafka", "--extra", "pubsub", "--extra", "brokers", "--group", "bench"],
    "test": [
        *("--extra", "brokers", "--extra", "kafka", "--extra", "parquet", "--extra", "pubsub", "--extra", "train"),
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
        _install(profile)
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


def _install(profile: str) -> None:
    """Install the project's dependencies, then the project itself where it is not: what runs meanwhile goes on."""
    _run(PYTHON, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, "uv")
    uv: list[str | Path] = [PYTHON, UV, "pip", "install", "--python", PYTHON, "--constraint", CONSTRAINTS]
    commands = [[*uv, "--requirements", "pyproject.toml", *PROFILES[profile]]]
    if not any(_is_installed(one) for one in PROFILES):
        commands.append([*uv, "--build-constraints", CONSTRAINTS, "--no-deps", "--editable", "."])
    for command in commands:
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
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


main()
