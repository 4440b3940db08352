"""Starts `visionbus train fashion-mnist`, and prints the seconds until its first step is done; then it is ended."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TELLING = """
import runpy
from visionbus.training.progress import TrainingProgress

TrainingProgress.step = lambda progress: print("step", flush=True)
runpy.run_module("visionbus", run_name="__main__", alter_sys=True)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "model.onnx")
        command = [sys.executable, "-c", TELLING, "train", "fashion-mnist", "--output", output]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            step = process.stdout.readline() if process.stdout else ""
            seconds = time.perf_counter() - began
            process.kill()
    if step != "step\n":
        sys.exit("the training ended before its first step")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
