"""Starts `visionbus train fashion-mnist`, and prints the seconds until its first epoch begins; then it is ended."""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BEGINS = re.compile(r": \d+ steps")  # what is told just before the first step


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "model.onnx")
        command = [sys.executable, "-m", "visionbus", "train", "fashion-mnist", "--output", output]
        began = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            line = next((line for line in process.stderr or () if BEGINS.search(line)), "")
            seconds = time.perf_counter() - began
            process.kill()
    if not line:
        sys.exit("the training ended before it began")
    print(json.dumps({"seconds": seconds, "line": line.strip()}))


if __name__ == "__main__":
    main()
