"""The whole system in processes of its own, on days when everything dies."""

import asyncio
import contextlib
import os
import random
import re
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_models import offline

from visionbus.messaging import connect
from visionbus.service.wire import ANSWERS, REQUESTS, RESULTS, WORKERS

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parent
KILLS = 30
IMAGES = np.random.default_rng(0).integers(0, 200, (2000, 2, 2), np.uint8)

HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


class System:
    """A supervisor with two workers, a results consumer and a client; what dies is started again."""

    def __init__(self, folder):
        self.url = f"sqlite:///{folder}/bus.db"
        self.store = folder / "results.db"
        self.run = 0
        self._folder = folder
        self._processes = {}
        self._confirmed = folder / "confirmed"
        images = folder / "images.idx"
        images.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", *IMAGES.shape) + IMAGES.tobytes())
        command = (sys.executable, "-m", "visionbus")
        common = ("--bus", self.url)
        self._commands = {
            "supervisor": (
                sys.executable,
                FOLDER / "supervise.py",
                "fake_models:Slow",
                self.url,
                "visionbus",
                "2",
                "1",
            ),
            "results": (*command, "results", *common, "--store", self.store),
            "client": (*command, "send", *common, "--run", "{run}", "images.idx"),
        }

    def start(self, role):
        words = [str(word).format(run=f"run-{self.run}") for word in self._commands[role]]
        with self._confirmed.open("ab") as confirmed, (self._folder / f"{role}.log").open("ab") as log:
            self._processes[role] = subprocess.Popen(
                words,
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])},
                stdout=confirmed if role == "client" else log,
                stderr=log,
            )

    def keep_running(self):
        """Start again what has died; a client that has finished begins the next run."""
        for role in self._commands:
            process = self._processes.get(role)
            if process is None or process.poll() is not None:
                if role == "client" and process is not None and process.returncode == 0:
                    self.run += 1
                self.start(role)

    def kill(self, role):
        process = self._processes["supervisor" if role == "worker" else role]
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            victim = random.choice(psutil.Process(process.pid).children()) if role == "worker" else process
            victim.kill()
        if role != "worker":
            process.wait()

    def finish(self):
        """Let the last run be sent whole."""
        while self._processes["client"].wait(60) != 0:
            self.start("client")

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.store)) as database:
            return database.execute("SELECT id, label, error FROM results").fetchall()

    def count(self):
        with contextlib.closing(sqlite3.connect(self.store)) as database:
            return database.execute("SELECT count(*) FROM results").fetchone()[0]

    def wait_for_rows(self, count, seconds=60):
        """Wait for as long as rows come, and so many seconds more."""
        there, ends = self.count(), time.monotonic() + seconds
        while there < count and time.monotonic() < ends:
            self.keep_running_services()
            time.sleep(0.1)
            before, there = there, self.count()
            if there > before:
                ends = time.monotonic() + seconds
        assert there >= count, f"{there} of {count} stored"

    def keep_running_services(self):
        for role in ("supervisor", "results"):
            if self._processes[role].poll() is not None:
                self.start(role)

    def end(self):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(15)

    @property
    def sent(self):
        """The ids that were confirmed; of a killed client the last line may be cut short."""
        return set(re.findall(r"^(run-\d+/images.idx/\d+)\n", self._confirmed.read_text(), re.MULTILINE))


async def dead_letters(url):
    async with connect(url) as bus:
        letters = []
        for topic in (f"visionbus.{REQUESTS}.{WORKERS}.dead", f"visionbus.{ANSWERS}.{RESULTS}.dead"):
            async with bus.subscribe(topic, "dead-letters") as receiver:
                letters += await receiver.receive(10, timeout=0)
    return [one.message.attributes for one in letters]


@pytest.mark.timeout(600)
def test_thirty_kills_at_random_moments_lose_nothing_and_double_nothing(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 (shown where it fails)
    chance = random.Random(seed)
    system = System(tmp_path)
    try:
        for _ in range(KILLS):
            system.keep_running()
            time.sleep(chance.uniform(0.2, 1.6))  # the moment is what is random
            system.kill(chance.choice(["client", "worker", "worker", "supervisor", "results"]))
        system.keep_running()
        system.finish()
        labels = offline(IMAGES)
        runs = range(system.run + 1)
        expected = {f"run-{run}/images.idx/{index}": label for run in runs for index, label in enumerate(labels)}
        system.wait_for_rows(len(expected))
    finally:
        system.end()
    rows = system.rows()
    assert len(rows) == len({name for name, _, _ in rows}), "duplicates"
    assert {name: label for name, label, _ in rows} == expected, "lost or wrong"
    assert len(system.sent) > 0.9 * len(expected)
    assert system.sent <= set(expected)
    assert asyncio.run(dead_letters(system.url)) == []


def test_store_locked_by_another_process_means_lag_and_no_loss(tmp_path):
    system = System(tmp_path)
    try:
        system.start("supervisor")
        system.start("results")
        ends = time.monotonic() + 60
        while not system.store.exists() or "results ready" not in (tmp_path / "results.log").read_text():
            assert time.monotonic() < ends
            time.sleep(0.01)
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, system.store], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            holder.stdout.readline()
            system.start("client")  # now: else all may be stored before the lock is taken
            while "database is locked; trying again" not in (tmp_path / "results.log").read_text():
                assert time.monotonic() < ends
                time.sleep(0.05)
            holder.stdin.close()
        system.wait_for_rows(len(IMAGES))
    finally:
        system.end()
    said = (tmp_path / "results.log").read_text().splitlines()
    assert [line for line in said if "WARNING" in line and "storing answers: " not in line] == []
    assert {name: label for name, label, _ in system.rows()} == {
        f"run-0/images.idx/{index}": label for index, label in enumerate(offline(IMAGES))
    }
