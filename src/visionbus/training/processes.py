"""Runs a fit on one device in this process, or on several in processes of their own."""

import logging
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.multiprocessing.spawn import ProcessException

from visionbus.training import checkpoint as checkpoints
from visionbus.training.checkpoint import Checkpoint
from visionbus.training.errors import CheckpointError, DivergedError, ProcessError, TrainingError
from visionbus.training.history import Epoch
from visionbus.training.job import Job, run
from visionbus.training.memory import keep_freed
from visionbus.training.observer import Observer
from visionbus.training.options import Precision
from visionbus.training.sharing import SharedDataset, share
from visionbus.training.stop import Stop
from visionbus.vision import Dataset

_log = logging.getLogger(__name__)
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it says of the precision, the progress says


def fabric_for(precision: Precision, *, devices: int = 1, accelerator: str = "auto") -> Fabric:
    """Return a Fabric on the best devices there are; with several, one that launches a function and no command."""
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy="ddp_spawn" if devices > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )


def most_devices(accelerator: str) -> float:
    """Return how many devices there may be; on the processor each is a process, of which any number may be started."""
    if accelerator == "cpu":
        return math.inf
    return torch.cuda.device_count() if accelerator == "cuda" else 1


def refuse_children() -> None:
    """Refuse to train in a process that is only being started to help another training.

    Raises:
        ProcessError: if this is one: it runs the user's script again, which does not expect it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ProcessError(
            'the script trains wherever it is imported: put its work under `if __name__ == "__main__":`, as processes '
            "that help it must be able to import it"
        )


@dataclass(frozen=True)
class _Order:
    """What each process is to do."""

    job: Job
    network: nn.Module
    train: SharedDataset
    validation: SharedDataset | None
    threads: int


def launch(
    job: Job,
    checkpoint: Checkpoint,
    network: nn.Module,
    data: tuple[Dataset, Dataset | None],
    *,
    fabric: Fabric,
    threads: int,
    observer: Observer,
    stop: Stop,
) -> Checkpoint:
    """Do a job in as many processes as `fabric` has devices; see `run`.

    Args:
        job: what to do.
        checkpoint: what the file of it has.
        network: a fresh one; it must be possible to pickle it, for our own processes only.
        data: what to learn from, and what to measure after each epoch.
        fabric: from `fabric_for`, not launched yet.
        threads: that compute on the processor, for all processes together.
        observer: follows the progress, in this process.
        stop: whether the user wants to.

    Raises:
        CheckpointError: if there is no checkpoint that can be read in the end.
        DivergedError: if the loss is infinite, or not a number.
        ProcessError: if a process fails or dies before the fit is done; the others are ended.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    listener = threading.Thread(target=_listen, args=(ours, observer), daemon=True)
    with tempfile.TemporaryDirectory(prefix="visionbus-") as name:
        folder, (train, validation) = Path(name), data
        held = share(validation, folder) if validation is not None else None
        order = folder / "order"  # in a file: Fabric looks at each byte of an argument, and pipes do not hold it
        order.write_bytes(_pickled(_Order(job, network, share(train, folder), held, threads)))
        listener.start()
        try:
            with stop.calling(lambda: ours.send("stop")), _ended_with_this(), _port_of_its_own():
                fabric.launch(_work, str(order), theirs)  # type: ignore[arg-type]  # it takes arguments, too
        except ProcessException as error:
            # One may fail as it ends; Ctrl-C may end one that is only starting, and SIGTERM to the group any.
            if not stop.requested and not _has_finished(job.checkpoint, len(checkpoint.finished) + 1):
                raise _told(error) from error
        finally:
            theirs.close()
            listener.join()
            ours.close()
    return checkpoints.load(job.checkpoint)


def _pickled(order: _Order) -> bytes:
    """Return an order as bytes, the network by value: shared memory is scarce in containers."""
    try:
        return pickle.dumps(order)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ProcessError(
            f"the network cannot be given to other processes ({error}): define its class in a module, at the top "
            "level, or train on one device"
        ) from error


@contextmanager
def _ended_with_this() -> Iterator[None]:
    """End the processes that were started within the block, however it is left."""
    before = set(multiprocessing.active_children())
    try:
        yield
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join()


@contextmanager
def _port_of_its_own() -> Iterator[None]:
    """Forget the port at which processes meet, which Fabric keeps in the environment: others may have it by then."""
    given = "MASTER_PORT" in os.environ
    try:
        yield
    finally:
        if not given:
            os.environ.pop("MASTER_PORT", None)


def _has_finished(path: Path, fits: int) -> bool:
    """Tell whether a checkpoint has so many fits that are finished."""
    try:
        return len(checkpoints.load(path).finished) >= fits
    except CheckpointError:
        return False


def _told(error: ProcessException) -> TrainingError:
    """Return what to tell of a process that failed, whose traceback is a text here."""
    lines = str(error).strip().splitlines()
    last = lines[-1] if lines else "it ended"
    kind, _, text = last.partition(": ")
    if kind.endswith(f".{DivergedError.__name__}"):
        return DivergedError(text)
    if kind.endswith("OutOfMemoryError"):
        return ProcessError(
            "a device's memory does not suffice: train anew on one, where batches are computed in parts"
        )
    return ProcessError(
        f"a process of the training failed ({last}): the checkpoint is kept, so go on with --resume, "
        "or train anew with fewer devices"
    )


def _listen(link: Connection, observer: Observer) -> None:
    """Pass on what the first process observes, until it ends."""
    while True:
        try:
            kind, value = link.recv()
        except (EOFError, OSError):
            return
        try:
            getattr(observer, kind)(*value)
        except (Exception, SystemExit):  # noqa: BLE001 (such as of a terminal that is gone: the training goes on, unseen)
            _log.exception("the progress cannot be shown any more")
            observer = _Silent()


class _Reporter(Observer):
    """Observes for the process that started this one, and hears from it when to stop."""

    def __init__(self, link: Connection) -> None:
        self._link = link

    def features(self, done: int, of: int) -> None:
        self._send("features", done, of)

    def step(self) -> None:
        self._send("step")

    def epoch(self, epoch: Epoch) -> None:
        self._send("epoch", epoch)

    def say(self, fact: str) -> None:
        self._send("say", fact)

    def stopped(self) -> bool:
        return self._link.poll()  # also when the other end is closed: then nobody is left to train for

    def _send(self, kind: str, *values: object) -> None:
        try:
            self._link.send((kind, values))
        except OSError:
            return  # the other end is closed, and the fit stops after this step


class _Silent(Observer):
    """Observes in the other processes, for nobody."""

    def stopped(self) -> bool:
        return False


def _end_with_parent(folder: Path) -> None:
    """End this process at once when that which started it dies: the checkpoint may be another training's by then."""
    parent = multiprocessing.parent_process()
    if parent:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)  # which nobody else removes
        os._exit(1)


def _work(fabric: Fabric, path: str, link: Connection) -> None:
    """Do the order that lies in a file, in one process of several."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the process that started these decides
    threading.Thread(target=_end_with_parent, args=(Path(path).parent,), daemon=True).start()
    keep_freed()
    order: _Order = pickle.loads(Path(path).read_bytes())  # noqa: S301 (from the process that started this one)
    torch.set_num_threads(max(order.threads // fabric.world_size, 1))
    observer = _Reporter(link) if fabric.global_rank == 0 else _Silent()
    helps = fabric.global_rank == 0 or any(phase.features for phase in order.job.phases)
    validation = order.validation.open() if order.validation and helps else None
    run(
        order.job,
        checkpoints.load(order.job.checkpoint),
        order.network,
        (order.train.open(), validation),
        fabric=fabric,
        observer=observer,
        stopped=observer.stopped,
    )
    torch.distributed.destroy_process_group()  # its threads must not outlive what they use
