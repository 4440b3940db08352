"""How long imports and `visionbus --help` take, in processes of their own.

Usage: python benchmarks/imports.py [--runs N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

TIMED = "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
MODULES = ("visionbus.messaging", "visionbus.vision", "visionbus.service.client", "visionbus.vision.onnx")
HEAVY = ("numpy", "torch", "onnxruntime", "PIL", "rich")


def import_seconds(module: str) -> float:
    code = TIMED.format(module=module)
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "visionbus", "--help"], check=True, capture_output=True)
    return time.perf_counter() - start


def heavy_imports(module: str) -> str:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def row(name: str, seconds: list[float], brings: str) -> str:
    median, least, most = (1000 * value for value in (statistics.median(seconds), min(seconds), max(seconds)))
    return f"| {name} | {median:.0f} | {least:.0f} | {most:.0f} | {brings or 'none'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(f"Python {sys.version.split()[0]}, {runs} runs each, files in the page cache")
    print("\n| milliseconds | median | least | most | of the heavy packages it imports |\n|---|---|---|---|---|")
    for module in MODULES:
        import_seconds(module)
        print(row(f"import {module}", [import_seconds(module) for _ in range(runs)], heavy_imports(module)), flush=True)
    help_seconds()
    print(row("visionbus --help, the whole process", [help_seconds() for _ in range(runs)], ""))


if __name__ == "__main__":
    main()
