"""Who takes part: how each is started, and what is kept of what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import peers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.kept import Record

HERE = Path(__file__).parent
OURS = [sys.executable, "-m", "visionbus"]
OPTIONS_OF_QUICK = ["--epochs", "0.02", "--no-refit"]


@dataclass(frozen=True)
class Case:
    """One measurement to be made.

    Attributes:
        seed: of the contestant.
        cap: seconds after which a peer begins no further epoch.
        quick: whether only to see that it runs.
        data: the folder of all data sets.
        folder: an empty one to work in.
        records: what has been measured before.
    """

    seed: int
    cap: float
    quick: bool
    data: Path
    folder: Path
    records: Sequence[Record]


@dataclass(frozen=True)
class Contestant:
    """A program that takes part in a row.

    Attributes:
        name: in the tables.
        command: what starts it.
        figures: what is kept of its output.
        environment: what it finds in its environment.
    """

    name: str
    command: Callable[[Case], list[str]]
    figures: Callable[[Case, str], dict[str, Any]]
    environment: Callable[[Case], dict[str, str]] = field(default=lambda _: {})


def peer(name: str, script: str, data: str, more: Callable[[Case], list[str]] = lambda _: []) -> Contestant:
    """Return a peer's program: a script in `peers`, in the peers' own environment, on one of the data sets."""

    def command(case: Case) -> list[str]:
        start = [str(peers.PYTHON), str(HERE / "peers" / script), str(case.data / data), "--seed", str(case.seed)]
        return [*start, "--cap", str(case.cap), *more(case), *(["--quick"] if case.quick else [])]

    def environment(case: Case) -> dict[str, str]:
        keras = {"KERAS_HOME": str(case.data / "keras"), "KERAS_BACKEND": "tensorflow"}
        return {**keras, "TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg"}

    return Contestant(name, command, lambda _, text: last_document(text), environment)


def ours(name: str, data: str, *options: str, measured: bool = False) -> Contestant:
    """Return `visionbus train` on a data set, a file or a folder of `data` or `fashion-mnist`, with these options.

    Args:
        name: in the tables.
        data: what it is trained on.
        options: more of them.
        measured: whether the finished file is measured, too: its size, and the time that an image takes.
    """

    def command(case: Case) -> list[str]:
        source = data if data == "fashion-mnist" else str(case.data / data)
        fixed = ["--seed", str(case.seed), "--output", str(case.folder / "model.onnx"), "--json"]
        return [*OURS, "train", source, *fixed, *options, *(OPTIONS_OF_QUICK if case.quick else [])]

    def figures(case: Case, text: str) -> dict[str, Any]:
        return trained(json.loads(text)) | (of_file(case.folder / "model.onnx") if measured else {})

    return Contestant(name, command, figures, decoding_anew)


def probe(name: str, data: str) -> Contestant:
    def command(case: Case) -> list[str]:
        start = [sys.executable, str(HERE / "own" / "probe.py"), str(case.data / data), "--seed", str(case.seed)]
        return [*start, *(["--quick"] if case.quick else [])]

    return Contestant(name, command, lambda _, text: last_document(text), decoding_anew)


def decoding_anew(case: Case) -> dict[str, str]:
    """Keep no decoded images from one measurement to the next."""
    return {"VISIONBUS_PIXELS": str(case.folder / "pixels")}


def trained(document: dict[str, Any]) -> dict[str, Any]:
    """Return the figures in what `visionbus train --json` prints."""
    figures, made = document["figures"], document["provenance"]
    kept = {"validation": figures["validation"]["accuracy"], "epochs": made["recipe"]["epochs"]}
    if "test" in figures:
        kept["accuracy"] = figures["test"]["accuracy"]
    return kept | {key: made[key] for key in ("precision", "threads", "versions", "command")}


def of_file(path: Path) -> dict[str, Any]:
    """Return the size of a model file in bytes, and microseconds an image by batch size."""
    command = [sys.executable, str(HERE / "own" / "speed.py"), str(path)]
    times = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"bytes": path.stat().st_size, "microseconds": last_document(times)}


def last_document(text: str) -> dict[str, Any]:
    """Return the JSON in the last line that is not empty."""
    found = json.loads(text.strip().rpartition("\n")[2])
    if not isinstance(found, dict):
        raise TypeError(f"no figures: {found!r}")
    return found
