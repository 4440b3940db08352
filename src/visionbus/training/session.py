"""Does the fits of a plan, from one checkpoint to the next, and measures what comes out."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from visionbus.training import checkpoint as checkpoints
from visionbus.training.building import NetworkSource
from visionbus.training.checkpoint import Checkpoint
from visionbus.training.classifier import Classifier, temperature_for
from visionbus.training.fitting import State
from visionbus.training.history import FitName
from visionbus.training.job import Job, run
from visionbus.training.plan import Plan
from visionbus.training.processes import fabric_for, launch
from visionbus.training.progress import TrainingProgress
from visionbus.training.schedule import Schedule
from visionbus.training.stop import Stop
from visionbus.vision import Dataset, Evaluation, evaluate
from visionbus.vision.datasets import TrainingData
from visionbus.vision.evaluation import logits_of, measure

_HASHED = 256 * 2**20  # bytes of images that a digest reads; of more, evenly chosen ones


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the fits of a plan gave.

    Attributes:
        classifier: the network for the file, calibrated.
        validation: how well the network that decided does on the images held out.
        tests: how well each repeat's network does on the test split; empty if there is none, or it was stopped.
        checkpoint: the last one.
        stopped: what was stopped, in words; empty if all is done.
    """

    classifier: Classifier
    validation: Evaluation
    tests: tuple[Evaluation, ...]
    checkpoint: Checkpoint
    stopped: str = ""


@dataclass(frozen=True, eq=False)
class Session:
    """A training whose data is open and whose plan stands.

    Attributes:
        plan: all settings.
        data: the splits; there is a validation split.
        source: of the networks.
        path: the checkpoint file, which exists.
        every: the seconds after which it is written again.
        ends: when the fits must be over, by `time.monotonic`.
        progress: follows.
        stop: whether the user wants to stop.
    """

    plan: Plan
    data: TrainingData
    source: NetworkSource
    path: Path
    every: float
    ends: float
    progress: TrainingProgress
    stop: Stop

    def run(self) -> Outcome:
        """Do the fits that remain, and measure.

        Raises:
            KeyboardInterrupt: if it is stopped before anything is learnt.
        """
        checkpoint = self._fits(checkpoints.load(self.path))
        finished = len(checkpoint.finished)
        if checkpoint.weights is None:
            raise KeyboardInterrupt
        decided, validation = self._calibrated(checkpoint.weights)
        if finished < len(self.plan.fits):
            return self._stopped(checkpoint, decided, validation)
        measured = [
            self._classifier(weights, decided.temperature) for weights in checkpoint.finished[self.plan.refit :]
        ]
        return Outcome(measured[0], validation, tuple(self._tests(measured)), checkpoint)

    def _fits(self, checkpoint: Checkpoint) -> Checkpoint:
        """Do the fits that remain, until the user wants to stop."""
        fits = self.plan.fits
        for number in range(len(checkpoint.finished), len(fits)):
            if self.stop.requested:
                break
            checkpoint = self._fit(number, checkpoint)
            if len(checkpoint.finished) == number:
                break
        return checkpoint

    def _fit(self, number: int, checkpoint: Checkpoint) -> Checkpoint:
        """Do one fit, in this process or in several."""
        name, seed = self.plan.fits[number]
        train = self.images(name)
        self.progress.stage(
            f"{name}, seed {seed}, {len(train)} images", self.plan.steps[number:], _done(checkpoint.current)
        )
        network = self.fresh(name, seed)
        job = Job(name, seed, self.plan.recipe, self.path, self.every, self._deadline(number))
        held_out = self.data.validation if name == "decide" else None
        plan = self.plan
        fabric = fabric_for(plan.precision, devices=plan.devices, accelerator=plan.accelerator)
        if plan.devices == 1:
            return run(job, network, (train, held_out), fabric=fabric, observer=self.progress, stopped=self.stop)
        return launch(
            job,
            network,
            (train, held_out),
            fabric=fabric,
            threads=plan.threads,
            observer=self.progress,
            stop=self.stop,
        )

    def _deadline(self, number: int) -> float:
        """Return when a fit must be over: it may have its share of the time that remains for all of them."""
        now, costs = time.monotonic(), self.plan.costs[number:]
        return now + (self.ends - now) * costs[0] / sum(costs)

    def _stopped(self, checkpoint: Checkpoint, decided: Classifier, validation: Evaluation) -> Outcome:
        """Return what there is: the first finished final network, or that which decided, as far as it has come."""
        finished = checkpoint.finished
        if self.plan.refit and len(finished) > 1:
            decided = self._classifier(finished[1], decided.temperature)
            what = "repeats were stopped"
        elif finished:
            what = "the final fit was stopped: this network was fitted without the images held out"
        else:
            what = "the first fit was stopped: this network was not fitted to its end"
        return Outcome(decided, validation, (), checkpoint, what)

    def images(self, name: FitName) -> Dataset:
        """Return what a fit learns from."""
        return self.data.train if name == "decide" else self.data.trainval or self.data.train

    def fresh(self, name: FitName, seed: int) -> nn.Module:
        """Return a network that has learnt nothing yet."""
        return self.source.fresh(self.plan.network, self.images(name), seed=seed, spec=self.plan.input)

    def _classifier(self, weights: State, temperature: float = 1.0) -> Classifier:
        """Return a network with these weights."""
        network = self.fresh("decide", self.plan.seed)
        network.load_state_dict(weights)
        fabric = fabric_for("fp32", accelerator=self.plan.accelerator)
        return Classifier(fabric.to_device(network), self.plan.classes, self.plan.input, temperature=temperature)

    def _calibrated(self, weights: State) -> tuple[Classifier, Evaluation]:
        """Return a classifier whose probabilities fit the images held out, and how well it does on these."""
        held_out = self.data.validation or self.data.train
        trial = self._classifier(weights)
        logits = logits_of(trial, held_out)
        temperature = temperature_for(logits, held_out.labels)
        decided = measure(logits / np.float32(temperature), held_out.labels, self.plan.classes)
        self.progress.say(f"held out: accuracy {decided.accuracy:.4f}, temperature {temperature:.3f}")
        return trial.at(temperature), decided

    def _tests(self, measured: list[Classifier]) -> Iterator[Evaluation]:
        """Measure each network on the test split, once."""
        for number, classifier in enumerate(measured if self.data.test is not None else ()):
            found = evaluate(classifier, self.data.test)  # type: ignore[arg-type]
            self.progress.say(f"test, seed {self.plan.seed + number}: accuracy {found.accuracy:.4f}")
            yield found


def _done(current: State | None) -> int:
    """Return the number of steps that a fit has done."""
    if current is None:
        return 0
    schedule = Schedule.from_json(current["schedule"])
    return sum(schedule.limits) - schedule.left


def digest(data: TrainingData) -> str:
    """Return a text that is the same for the same images and labels, in the same splits."""
    mark = hashlib.blake2b(digest_size=16)
    for part, dataset in data.parts.items():
        stride = max(dataset.images.nbytes // _HASHED, 1)
        mark.update(f"{part} {dataset.images.shape} {dataset.classes}".encode())
        mark.update(dataset.labels.tobytes())
        for image in dataset.images[::stride]:
            mark.update(image.tobytes())
    return mark.hexdigest()
