"""One fit of a training, with its checkpoints: what each process of it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from visionbus.training import checkpoint as checkpoints
from visionbus.training.checkpoint import Checkpoint
from visionbus.training.history import Epoch, FitName
from visionbus.training.loop import Control, fit
from visionbus.training.observer import Observer
from visionbus.training.recipe import Phase, Recipe
from visionbus.training.state import State
from visionbus.vision import Dataset


@dataclass(frozen=True)
class Job:
    """What there is to fit.

    Attributes:
        name: "decide" or "final".
        seed: of the order of the images and the changes to them.
        recipe: how to train.
        phases: of the fit.
        checkpoint: the file that is written when the fit is finished or stopped, and every so often.
        every: the seconds after which a checkpoint is written, within an epoch.
        deadline: when the fit must be over, by `time.monotonic`.
    """

    name: FitName
    seed: int
    recipe: Recipe
    phases: tuple[Phase, ...]
    checkpoint: Path
    every: float
    deadline: float


class _Recorder(Observer):
    """Passes on what it observes, and keeps the epochs."""

    def __init__(self, job: Job, observer: Observer) -> None:
        self._job = job
        self._observer = observer
        self.epochs: list[Epoch] = []

    def features(self, done: int, of: int) -> None:
        self._observer.features(done, of)

    def step(self) -> None:
        self._observer.step()

    def epoch(self, epoch: Epoch) -> None:
        named = replace(epoch, fit=self._job.name, seed=self._job.seed)
        self.epochs.append(named)
        self._observer.epoch(named)

    def say(self, fact: str) -> None:
        self._observer.say(fact)


def run(
    job: Job,
    base: Checkpoint,
    network: nn.Module,
    data: tuple[Dataset, Dataset | None],
    *,
    fabric: Fabric,
    observer: Observer,
    stopped: Callable[[], bool],
) -> Checkpoint:
    """Fit a network on the first data set and measure it on the second, from a checkpoint to the next one.

    Args:
        job: what to do.
        base: what the checkpoint file holds, or should: it could not be written where the disk was full.
        network: a fresh one.
        data: what to learn from, and what to measure after each epoch.
        fabric: the devices and the precision; each of its processes calls this, and the first one writes.
        observer: follows the progress.
        stopped: is asked before each step whether it is to be the last one, and while features are computed for it.

    Returns:
        The next checkpoint, in the first process; in others, the one of before.
    """
    began, last = time.monotonic(), base
    recorder, first = _Recorder(job, observer), fabric.global_rank == 0

    def now() -> Checkpoint:
        seconds = base.seconds + time.monotonic() - began
        return replace(base, seconds=seconds, history=(*base.history, *recorder.epochs))

    def keep(reached: Checkpoint) -> None:
        nonlocal last
        last = reached
        try:
            checkpoints.save(reached, job.checkpoint)
        except OSError as error:
            observer.say(f"the checkpoint could not be written ({error}): the training goes on, with the last one kept")

    def keep_state(state: State) -> None:
        keep(replace(now(), current=state))

    control = Control(base.current, keep_state if first else None, job.every, stopped, job.deadline, job.phases)
    train, validation = data
    done = fit(
        network,
        train,
        job.recipe,
        fabric=fabric,
        seed=job.seed,
        observer=recorder,
        validation=validation,
        control=control,
    )
    if done and first:
        weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        keep(now().with_fit(weights))
    return last
