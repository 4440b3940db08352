"""Runs the uv of this Python as its pip is configured: `.venv/bin/python scripts/uv.py pip install ...`."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

FROM_PIP = {  # pip's settings that uv knows by another name
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
}


def environment() -> dict[str, str]:
    """Tell uv what pip is told by its variables and files, where uv is not told itself."""
    environment = {"UV_SYSTEM_CERTS": "true", "UV_NO_PROGRESS": "true", **os.environ}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(re.findall(r"^(?:global|install)\.([\w-]+)=(.*)$", listed, re.MULTILINE))
    settings |= dict(re.findall(r"^:env:\.([\w-]+)=(.*)$", listed, re.MULTILINE))
    for name, variable in FROM_PIP.items():
        if name in settings:
            words = str(ast.literal_eval(settings[name])).split()
            if name == "find-links":  # pip passes over a folder that is not there, uv does not
                words = [word for word in words if "://" in word or Path(word).exists()]
            environment.setdefault(variable, ("," if name == "find-links" else " ").join(words))
    return {name: value for name, value in environment.items() if value}


if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, "-m", "uv", *sys.argv[1:]], env=environment(), check=False).returncode)
