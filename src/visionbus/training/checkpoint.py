"""The state of a training in a file beside its output, from which it goes on."""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from visionbus.locks import claim
from visionbus.training.errors import CheckpointError
from visionbus.training.history import Epoch
from visionbus.training.plan import Plan
from visionbus.training.state import State
from visionbus.vision.datasets import TrainingData

FORMAT = 3
_AT_ONCE = 1000  # images that are hashed together
_HASHED = 256 * 2**20  # bytes of images that a digest reads; of more, evenly chosen ones


@dataclass(frozen=True)
class Checkpoint:
    """What a training has done so far.

    Attributes:
        plan: all that was decided before the first step; it stays as it is.
        data: a digest of the images and labels.
        environment: what else the weights depend on: versions, processor, threads.
        seconds: how long the training has taken.
        finished: the weights of each fit that is finished, in their order.
        current: the state of the fit that is not; None if it has not begun.
        history: the epochs so far, of all fits.
    """

    plan: Plan
    data: str
    environment: Mapping[str, object]
    seconds: float = 0.0
    finished: tuple[State, ...] = ()
    current: State | None = None
    history: tuple[Epoch, ...] = ()

    @property
    def weights(self) -> State | None:
        """The weights of the first fit, finished or not; None if it has not begun."""
        if self.finished:
            return self.finished[0]
        return None if self.current is None else self.current["network"]

    def with_fit(self, weights: State) -> "Checkpoint":
        """Return what is to be kept when a fit is finished, with these weights."""
        return replace(self, finished=(*self.finished, weights), current=None)


def digest(data: TrainingData) -> str:
    """Return a text that is the same for the same images and labels, in the same splits."""
    mark = hashlib.blake2b(digest_size=16)
    for part, dataset in data.parts.items():
        stride = max(dataset.images.nbytes // _HASHED, 1)
        mark.update(f"{part} {dataset.images.shape} {dataset.classes}".encode())
        mark.update(dataset.labels.tobytes())
        for start in range(0, len(dataset.images), stride * _AT_ONCE):
            mark.update(np.ascontiguousarray(dataset.images[start : start + stride * _AT_ONCE : stride]).data)
    return mark.hexdigest()


def path_for(output: Path) -> Path:
    """Return where the checkpoint of a training with this output is."""
    return output.with_suffix(".checkpoint")


@contextmanager
def claimed(path: Path, output: Path) -> Iterator[None]:
    """Have a checkpoint for this process alone, and know that it can be written before there is anything to lose.

    Raises:
        CheckpointError: if another process trains to the same output.
        OSError: if it cannot be written; it names the output, or the lock file that is there.
    """
    mark = path.with_name(path.name + ".lock")
    try:
        lock = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(mark if os.path.lexists(mark) else output)) from error
    try:
        free = True
        with suppress(OSError):  # a file system without locks: then nobody is kept out
            free = claim(lock)
        if not free or not os.fstat(lock).st_nlink:  # or its owner has just ended, and removed it
            raise CheckpointError(f"another process trains {output}: wait for its end, or name another output")
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)
    finally:
        os.close(lock)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: whenever the process or the machine stops, the old or the new one is there.

    Only one process writes; what a killed one left of a temporary file is overwritten.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    texts = {
        "plan": checkpoint.plan.to_json(),
        "environment": dict(checkpoint.environment),
        "history": [epoch.to_json() for epoch in checkpoint.history],
    }
    values = {
        "format": FORMAT,
        "data": checkpoint.data,
        "seconds": checkpoint.seconds,
        "finished": list(checkpoint.finished),
        "current": checkpoint.current,
        **{key: json.dumps(value) for key, value in texts.items()},
    }
    content = io.BytesIO()  # torch takes a full disk for an error of its own
    torch.save(values, content)
    try:
        temporary.unlink(missing_ok=True)  # a link in its place would lead elsewhere
        with temporary.open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: if it is missing, damaged, or of another version's format.
    """
    try:
        values = _read(path)
        if values["format"] == FORMAT:
            return _checkpoint(values)
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path} to go on from: train without --resume") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"cannot read {path} to go on from: {error.strerror}") from error
    except (UnpicklingError, BadZipFile, RuntimeError, EOFError, LookupError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is damaged, or no checkpoint: remove it, and train anew") from error
    raise CheckpointError(f"{path} was written by another version of visionbus: use that one, or train anew")


def _read(path: Path) -> Mapping[str, Any]:
    with ZipFile(path) as archive:  # torch compares no checksums
        if damaged := archive.testzip():
            raise BadZipFile(f"the checksum of {damaged} is another one")
    values: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return values


def _checkpoint(values: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        plan=Plan.from_json(json.loads(values["plan"])),
        data=values["data"],
        environment=json.loads(values["environment"]),
        seconds=values["seconds"],
        finished=tuple(values["finished"]),
        current=values["current"],
        history=tuple(Epoch.from_json(value) for value in json.loads(values["history"])),
    )


def remove(path: Path) -> None:
    """Remove a checkpoint, and what was left of one that was being written."""
    for file in (path, path.with_name(path.name + ".part")):
        file.unlink(missing_ok=True)
