"""What the peers' programs share: their options, their clock, and the line of JSON that they end with."""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="the folder of the data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, help="train until this accuracy on validation, not as documented")
    parser.add_argument("--cap", type=float, default=1800.0, help="begin no epoch that would end later, in seconds")
    parser.add_argument("--cpu", type=float, help="train until so many seconds of processor time are spent")
    parser.add_argument("--quick", action="store_true", help="one epoch of a few images, to see that it runs")
    return parser.parse_args()


def seconds() -> float:
    """Return how long this program has run, its imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # from the machine's start to ours
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def cpu() -> float:
    """Return the processor time of this program and of its processes that have ended, in seconds."""
    return sum(os.times()[:4])


class Epochs:
    """The epochs that were trained, each with its accuracy on validation; says when to stop."""

    def __init__(self, given: argparse.Namespace, documented: int) -> None:
        self._given = given
        self._documented = documented
        self._began = seconds()
        self.accuracies: list[float] = []

    @property
    def most(self) -> int:
        """How many there may be."""
        if self._given.quick:
            return 1
        return self._documented if self._given.target is None and self._given.cpu is None else 10_000

    def add(self, accuracy: float) -> None:
        self.accuracies.append(float(accuracy))
        print(f"epoch {len(self.accuracies)}: validation {accuracy:.4f}, {seconds():.0f} s", flush=True)

    @property
    def reached(self) -> bool:
        return self._given.target is not None and max(self.accuracies, default=0.0) >= self._given.target

    @property
    def enough(self) -> bool:
        """Tell whether no further epoch is wanted, or would end within the cap."""
        if self.reached or len(self.accuracies) >= self.most:
            return True
        if self._given.cpu is not None and cpu() >= self._given.cpu:
            return True
        each = (seconds() - self._began) / max(len(self.accuracies), 1)
        return (self._given.target is not None or self._given.cpu is not None) and seconds() + each > self._given.cap

    def report(self, accuracy: float, *packages: str, threads: int | None = None) -> None:
        """Print the figures: the last line of the program."""
        figures = {
            "accuracy": float(accuracy),
            "validation": self.accuracies[-1],
            "best_validation": max(self.accuracies),
            "reached": self.reached,
            "epochs": len(self.accuracies),
            "precision": "fp32",
            "threads": threads or len(os.sched_getaffinity(0)),  # by default TensorFlow takes all cores
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in packages}},
        }
        print(json.dumps(figures), flush=True)
