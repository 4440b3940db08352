"""Does the fits of a plan, from one checkpoint to the next, and measures what comes out."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visionbus.training import checkpoint as checkpoints
from visionbus.training.building import NetworkSource
from visionbus.training.checkpoint import Checkpoint
from visionbus.training.classifier import Classifier, temperature_for
from visionbus.training.errors import ProcessError
from visionbus.training.history import FitName, spoilt
from visionbus.training.job import Job, run
from visionbus.training.plan import Plan
from visionbus.training.processes import fabric_for, launch
from visionbus.training.progress import TrainingProgress
from visionbus.training.schedule import Schedule
from visionbus.training.state import State
from visionbus.training.stop import Stop
from visionbus.vision import Dataset, Evaluation
from visionbus.vision.datasets import TrainingData
from visionbus.vision.evaluation import logits_of
from visionbus.vision.report import Measured

_REFITTED = (
    "These are the figures of a network that was fitted in the same way without these images; the model itself was "
    "then fitted with them, too."
)
_WENT_ON = (
    "These are the figures of the network before it learnt these images: it then went on with all of them, and is the "
    "model."
)
_CALIBRATED = "The temperature of the probabilities was chosen on these images."


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the fits of a plan gave.

    Attributes:
        classifier: the network for the file, calibrated.
        validation: how well the network that decided does on the images held out.
        tests: how well each repeat's network does on the test split; empty if there is none, or it was stopped.
        measured: images that the network has not learnt, with its logits; or, with a note that says so, with those of
            the network that decided.
        checkpoint: the last one.
        stopped: what was stopped, in words; empty if all is done.
    """

    classifier: Classifier
    validation: Evaluation
    tests: tuple[Evaluation, ...]
    measured: Measured
    checkpoint: Checkpoint
    stopped: str = ""


@dataclass(frozen=True, eq=False)
class Session:
    """A training whose data is open and whose plan stands.

    Attributes:
        plan: all settings.
        data: the splits, as far as the plan has time for them; there is a validation split.
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
        if checkpoint.weights is None:
            raise KeyboardInterrupt
        decided, held_out = self._calibrated(checkpoint.weights)
        if len(checkpoint.finished) < len(self.plan.fits):
            return self._stopped(checkpoint, decided, held_out)
        done = zip(self.plan.fits, checkpoint.finished, strict=True)
        weights = [one for (name, _), one in done if name == self.plan.measured]
        fitted = [self._classifier(one, decided.temperature) for one in weights]
        tests = tuple(self._tests(fitted))
        shown = tests[0] if tests else replace(held_out, note=self._note())
        evaluations = tuple(test.evaluation for test in tests)
        return Outcome(fitted[0], held_out.evaluation, evaluations, shown, checkpoint)

    def _fits(self, checkpoint: Checkpoint) -> Checkpoint:
        """Do the fits that remain, until the user wants to stop."""
        fits = self.plan.fits
        for number in range(len(checkpoint.finished), len(fits)):
            if self.stop.requested:
                break
            before, checkpoint = checkpoint, self._fit(number, checkpoint)
            if len(checkpoint.finished) == number:
                if not self.stop.requested:  # several processes hand their weights on by the checkpoint
                    raise ProcessError("the checkpoint could not be written: make room, then go on with --resume")
                break
            if self._hurried(number, checkpoint):
                self.progress.say("the time was over before the final fit had learnt enough: it does not count")
                checkpoint = before
                with suppress(OSError):  # a full disk: what is there counts a fit too many, and leads to a model, too
                    checkpoints.save(checkpoint, self.path)
                break
        return checkpoint

    def _hurried(self, number: int, checkpoint: Checkpoint) -> bool:
        """Tell whether the clock left a final fit less than half of the share that the first fit had of its steps.

        Then nothing that was measured of the first network is true of the final one.
        """

        def share(one: int) -> float:
            name, seed = self.plan.fits[one]
            shown = sum(epoch.images for epoch in checkpoint.history if (epoch.fit, epoch.seed) == (name, seed))
            images, steps = len(self._images(name)), self._plan_of(one, checkpoint).steps[one]
            return shown * self.plan.recipe.steps_per_epoch(images) / images / steps

        return self.plan.fits[number][0] == "final" and share(number) < share(0) / 2

    def _fit(self, number: int, checkpoint: Checkpoint) -> Checkpoint:
        """Do one fit, in this process or in several."""
        plan, (name, seed) = self._plan_of(number, checkpoint), self.plan.fits[number]
        train = self._images(name)
        self.progress.stage(
            f"{name}, seed {seed}, {len(train)} images",
            plan.steps[number],
            later=sum(plan.costs[number + 1 :]) / plan.recipe.steps_per_epoch(len(train)),
            done=_done(checkpoint.current),
        )
        network = self.source.fresh(plan.network, train, seed=seed, spec=plan.input)
        if plan.goes_on(name):
            network.load_state_dict(checkpoint.finished[-1])
        deadline = self._deadline(plan.costs[number:])
        job = Job(name, seed, plan.recipe_of(name), plan.phases, self.path, self.every, deadline)
        held_out = self.data.validation if name == "decide" else None
        fabric = fabric_for(plan.precision, devices=plan.devices, accelerator=plan.accelerator)
        if plan.devices == 1:
            return run(
                job, checkpoint, network, (train, held_out), fabric=fabric, observer=self.progress, stopped=self.stop
            )
        return launch(
            job,
            checkpoint,
            network,
            (train, held_out),
            fabric=fabric,
            threads=plan.threads,
            observer=self.progress,
            stop=self.stop,
        )

    def _plan_of(self, number: int, checkpoint: Checkpoint) -> Plan:
        """Return the plan for a fit: where fine-tuning did harm to the network that decided, others are spared it."""
        return self.plan.untuned if number and spoilt(checkpoint.history, self.plan.seed) else self.plan

    def _deadline(self, costs: Sequence[float]) -> float:
        """Return when the first of the fits that remain must be over: it may have its share of the time for them."""
        now = time.monotonic()
        return now + (self.ends - now) * costs[0] / sum(costs)

    def _stopped(self, checkpoint: Checkpoint, decided: Classifier, held_out: Measured) -> Outcome:
        """Return what there is: the first finished final network, or that which decided, as far as it has come."""
        finished, note = checkpoint.finished, _CALIBRATED
        if len(finished) > self.plan.refit:
            note = self._note()
            decided = self._classifier(finished[self.plan.refit], decided.temperature)
            what = "repeats were stopped"
        elif finished:
            what = "the final fit was stopped: this network was fitted without the images held out"
        else:
            what = "the first fit was stopped: this network was not fitted to its end"
        shown = replace(held_out, note=f"The training was stopped. {note}")
        return Outcome(decided, held_out.evaluation, (), shown, checkpoint, what)

    def _note(self) -> str:
        """Return what is to be said about figures on the validation images, once there is a network for the file."""
        if self.plan.further:
            return _WENT_ON
        return _REFITTED if self.plan.refit else _CALIBRATED

    def _images(self, name: FitName) -> Dataset:
        """Return what a fit learns from."""
        return self.data.train if name == "decide" else self.data.trainval or self.data.train

    def _classifier(self, weights: State, temperature: float = 1.0) -> Classifier:
        """Return a network with these weights."""
        one = self.data.train.subset(np.arange(1))  # what the images determine is among the weights
        network = self.source.fresh(self.plan.network, one, seed=self.plan.seed, spec=self.plan.input)
        network.load_state_dict(weights)
        fabric = fabric_for("fp32", accelerator=self.plan.accelerator)
        return Classifier(fabric.to_device(network), self.plan.classes, self.plan.input, temperature=temperature)

    def _calibrated(self, weights: State) -> tuple[Classifier, Measured]:
        """Return a classifier whose probabilities fit the images held out, and how well it does on these."""
        held_out = self.data.validation or self.data.train
        trial = self._classifier(weights)
        logits = logits_of(trial, held_out)
        temperature = temperature_for(logits, held_out.labels)
        measured = Measured(held_out, logits / np.float32(temperature), "validation")
        accuracy = measured.evaluation.accuracy
        self.progress.say(f"held out: accuracy {accuracy:.4f}, temperature {temperature:.3f}")
        return trial.at(temperature), measured

    def _tests(self, fitted: list[Classifier]) -> Iterator[Measured]:
        """Measure each network on the test split, once."""
        test = self.data.test
        for number, classifier in enumerate(fitted if test else ()):
            found = Measured(test, logits_of(classifier, test), "test")  # type: ignore[arg-type]
            self.progress.say(f"test, seed {self.plan.seed + number}: accuracy {found.evaluation.accuracy:.4f}")
            yield found


def _done(current: State | None) -> int:
    """Return the number of steps that a fit has done."""
    if current is None:
        return 0
    schedule = Schedule.from_json(current["schedule"])
    return sum(schedule.limits) - schedule.left
