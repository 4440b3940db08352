"""What the benchmarks of the service share: the real processes, started and ended; ONNX Runtime alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Self

import numpy as np
import psutil

from visionbus.vision.onnx import OnnxModel, default_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 300.0  # seconds for anything to happen


class Services:
    """`visionbus worker` and `visionbus results` on a SQLite bus in a folder; ready when entered, ended after."""

    def __init__(self, folder: Path, *, processes: int) -> None:
        self.bus = f"sqlite:///{folder}/bus.db"
        self._store = folder / "results.db"
        self._log = folder / "log"
        self._processes = processes
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            for command in (
                ["worker", "--bus", self.bus, "--processes", str(self._processes)],
                ["results", "--bus", self.bus, "--store", f"sqlite:///{self._store}"],
            ):
                self._started.append(subprocess.Popen([sys.executable, "-m", "visionbus", *command], stderr=log))
        self._wait(lambda: self._log.read_text().count("ready") >= self._processes + 1)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait()

    def workers(self) -> list[psutil.Process]:
        """The worker processes, without their supervisor."""
        return psutil.Process(self._started[0].pid).children()

    def results(self) -> psutil.Process:
        """The results consumer."""
        return psutil.Process(self._started[1].pid)

    def wait_for_rows(self, count: int) -> tuple[float, float]:
        """Wait until so many are stored; give when the first was published and the last stored (seconds)."""
        self._wait(lambda: self.query("SELECT count(*) FROM results")[0][0] >= count)
        ((first, last),) = self.query("SELECT min(published), max(stored) FROM results")
        return first, last

    def query(self, statement: str) -> list[tuple[float, ...]]:
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as store:
            return store.execute(statement).fetchall()

    def _wait(self, happened: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > ends or any(process.poll() is not None for process in self._started):
                raise RuntimeError(f"the services do not come on; they said: {self._log.read_text()[-2000:]}")
            time.sleep(0.1)


def inference_rate(seconds: float) -> float:
    """Images a second of ONNX Runtime alone, in batches of 64 on one thread."""
    model = OnnxModel(default_model())
    model.warm_up()
    batch = np.random.default_rng(0).integers(0, 256, (64, *model.input.shape), dtype=np.uint8)
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        model.logits(batch)
        done += len(batch)
    return done / spent
