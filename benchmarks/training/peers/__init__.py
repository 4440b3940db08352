"""The peers' programs, and the Python that runs them: an environment of their own, at pinned versions."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def provide() -> None:
    """Install what they need, unless it is there: uv does it, as pip is configured, and pip where uv fails."""
    stamp = VENV / ".installed"
    state = hashlib.sha256(f"{VENV} {sys.version}".encode() + REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return
    print(f"installing into {VENV} what the peers need (6 GB on Linux, as CUDA comes with torch)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    uv = [sys.executable, ROOT / "scripts" / "uv.py", "pip", "install", "--python", PYTHON, "-r", REQUIREMENTS]
    if subprocess.run(uv, check=False).returncode:
        print("uv failed; pip does it instead, more slowly", flush=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "-r", REQUIREMENTS], check=True)
    # compiled now, not in the time of the first that imports it
    subprocess.run([PYTHON, "-m", "compileall", "-q", VENV / "lib"], stdout=subprocess.DEVNULL, check=False)
    stamp.write_text(state)
