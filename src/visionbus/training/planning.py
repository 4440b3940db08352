"""Makes the plan of a training whose data is open, with a trial of what is fast, or takes up that of a checkpoint."""

import math
import time
from dataclasses import replace

import numpy as np
import torch

from visionbus.training.building import NetworkSource
from visionbus.training.checkpoint import Checkpoint, digest
from visionbus.training.errors import CheckpointError
from visionbus.training.export import rehearse
from visionbus.training.options import Options
from visionbus.training.plan import Facts, Plan, make_plan
from visionbus.training.precision import choose, step_seconds
from visionbus.training.processes import fabric_for, most_devices
from visionbus.training.progress import TrainingProgress
from visionbus.training.provenance import environment
from visionbus.training.recipe import Recipe, phases_of
from visionbus.vision import Dataset
from visionbus.vision.datasets import Decoding, TrainingData
from visionbus.vision.datasets.dataset import stratified

_WRITING = 15.0  # seconds of a time budget that are kept for exporting, checking and describing the model
_MOST_WRITING = 0.3  # of a time budget, however small it is
_SPARE = 0.05  # of a time budget
_CHECKING = 0.05  # of a time budget, at most, but for ...
_CHECKED = 50  # ... images on which a file is checked all the same


def planned(
    opened: TrainingData, options: Options, source: NetworkSource, began: float, progress: TrainingProgress
) -> Plan:
    """Plan a training, with a trial of what is fast.

    Raises:
        ModelError: if torch cannot export the user's own network.
        ModuleNotFoundError: if a backbone is asked for, and timm is not installed.
        TypeError: if the user's own network does not map images to logits.
        ValueError: if there are more devices than this machine has, or than can share a batch.
        WeightsError: if the weights of the backbone cannot be had.
    """
    progress.doing("trying what is fast")
    chosen, note = source.describe(opened.input, len(opened.train.classes))
    if note:
        progress.say(note)
    sample = opened.train.subset(np.arange(min(Recipe.batch, len(opened.train))))
    trial = source.fresh(chosen, sample, seed=options.seed, spec=opened.input)
    if source.own is not None:
        rehearse(trial, opened.train.classes, opened.input)
    plan = make_plan(_facts(opened), options, chosen, phases_of(trial))
    if plan.devices > (most := most_devices(plan.accelerator)):
        raise ValueError(f"{plan.devices} devices are more than this machine has: use at most {most}")
    if plan.repeats > 1 and not opened.test:
        progress.say("note: repeats are measured on a test split, and there is none")
    sample = sample.subset(np.arange(min(plan.recipe.batch, len(sample))))
    plan = replace(plan, precision=choose(plan.precision, trial, sample, plan.recipe))
    if options.time_budget is not None:
        step = step_seconds(plan.precision, trial, sample, plan.recipe)
        image = step / plan.recipe.batch / 3  # the seconds of one that is classified
        plan = replace(plan, checked=max(min(int(_CHECKING * options.time_budget / image / 2), plan.checked), _CHECKED))
        plan = replace(plan, reserve=_reserve(options.time_budget, opened, plan, image))
        plan = plan.within(options.time_budget - plan.reserve - (time.monotonic() - began), step)
    height, width, channels = plan.input.shape
    progress.say(
        f"{', '.join(f'{len(images)} {part}' for part, images in opened.parts.items())} images of {height} x {width} x "
        f"{channels}, {len(plan.classes)} classes; {_epochs(plan)}; {plan.precision}"
    )
    if plan.recipe.epochs < min(options.epochs or 1, 1):
        progress.say("note: in this time, not every image can be shown once: expect little of it, or give it more")
    if not plan.refit and not opened.held_out:
        progress.say("note: the validation split that is given is never learnt, unless --refit says so")
    return plan


def _epochs(plan: Plan) -> str:
    """Return the epochs of each phase, as in 60 + 15 epochs, and those of a final fit where they are other ones."""
    first = " + ".join(f"{plan.recipe.epochs * phase.epochs:g}" for phase in plan.phases)
    then = f", then {plan.recipe_of('final').epochs:g} with all images" if plan.further else ""
    return f"{first} epochs{then}"


def _facts(opened: TrainingData) -> Facts:
    train = opened.train
    return Facts(
        counts=tuple(np.bincount(train.labels, minlength=len(train.classes)).tolist()),
        validation=len(opened.validation or ()),
        together=len(opened.trainval or train),
        held_out=opened.held_out,
        input=opened.input,
        classes=train.classes,
        accelerator=fabric_for("fp32").device.type,
        threads=torch.get_num_threads(),
    )


def _reserve(budget: float, opened: TrainingData, plan: Plan, image: float) -> float:
    """Return the seconds that are kept for all but the fits, where an image is classified in `image` seconds.

    Those on which the file is checked are classified twice, by the network and by the file.
    """
    measuring = (len(opened.test or ()) * plan.repeats + 2 * plan.checked) * image
    return min(_WRITING, _MOST_WRITING * budget) + _SPARE * budget + measuring


def part_of(opened: TrainingData, plan: Plan, progress: TrainingProgress) -> TrainingData:
    """Return the data, or, where the plan has no time for all of it, the same share of each class, and say so."""

    def some(images: Dataset, wanted: int) -> Dataset:
        if wanted >= len(images):
            return images
        chosen = stratified(images.labels, wanted / len(images), plan.seed)
        return images.subset(np.flatnonzero(chosen), memory=Decoding.memory)

    train, together = plan.images
    part = replace(
        opened,
        train=some(opened.train, train),
        validation=opened.validation and some(opened.validation, plan.validation),
        trainval=opened.trainval and some(opened.trainval, together),
    )
    if len(part.train) < len(opened.train):
        progress.say(
            f"note: in this time, {len(part.train)} of {len(opened.train)} training images can be learnt, and "
            f"{len(part.validation or ())} of {len(opened.validation or ())} are held out"
        )
    return part


def end_of_fits(plan: Plan, began: float) -> float:
    """Return when the fits of a training that began then must be over, both by `time.monotonic`; infinite if never."""
    return math.inf if plan.time_budget is None else began + plan.time_budget - plan.reserve


def gone_on(earlier: Checkpoint, opened: TrainingData, source: NetworkSource, progress: TrainingProgress) -> Plan:
    """Check that an interrupted training can go on with these data and network; return its plan.

    Raises:
        CheckpointError: if it cannot.
    """
    plan = earlier.plan
    if earlier.data != digest(opened):
        raise CheckpointError("the checkpoint is of a training on other data: name that data, or train anew")
    if source.name != plan.network.get("own"):
        raise CheckpointError("the checkpoint is of another network: give that one, or train anew")
    here = environment()
    for key in (key for key in here if here[key] != earlier.environment.get(key)):
        progress.say(
            f"note: {key} was {earlier.environment.get(key)} and is {here[key]}: the weights may come out otherwise"
        )
    device = fabric_for("fp32").device.type
    if plan.accelerator != device:
        raise CheckpointError(f"the checkpoint is of a training on {plan.accelerator}, not {device}: train anew")
    if plan.devices > most_devices(device):
        raise CheckpointError(
            f"the checkpoint is of a training on {plan.devices} devices, more than are here: train anew"
        )
    progress.say(f"going on where it was after {earlier.seconds:.0f} s of learning, with the plan of then")
    return plan
