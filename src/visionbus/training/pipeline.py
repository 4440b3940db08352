"""Trains a model file from data: what `visionbus train` does."""

import errno
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from visionbus.training import checkpoint as checkpoints
from visionbus.training.augment import AugmentName
from visionbus.training.building import Module, NetworkSource, input_for
from visionbus.training.checkpoint import Checkpoint
from visionbus.training.export import write
from visionbus.training.history import Epoch
from visionbus.training.opening import open_for_training
from visionbus.training.options import Options, Precision
from visionbus.training.planning import end_of_fits, gone_on, part_of, planned
from visionbus.training.processes import refuse_children
from visionbus.training.progress import TrainingProgress
from visionbus.training.provenance import environment, figures, provenance
from visionbus.training.session import Outcome, Session
from visionbus.training.stop import Stop
from visionbus.vision import DatasetError, Evaluation
from visionbus.vision.card import card
from visionbus.vision.datasets import Checks, Columns, TrainingData
from visionbus.vision.datasets.array_sources import Source
from visionbus.vision.files import replacing
from visionbus.vision.metadata import Metadata
from visionbus.vision.names import is_name
from visionbus.vision.onnx import OnnxModel
from visionbus.vision.report import write_report


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        path: the model file; next to it are its card, with the suffix .md, and the report about it, with .html.
        model: the model, loaded from the file.
        validation: the evaluation, on the validation images, of a network that was fitted without them.
        tests: the evaluation of each repeat's network on the test set, that of the file first; empty if the data has
            no test set, or the training was stopped.
        seconds: how long the whole training took.
        history: the figures of each epoch.
        stopped: what was left out since the training was stopped, in words; empty if nothing was. Then the checkpoint
            is kept, from which `resume=True` goes on.
    """

    path: Path
    model: OnnxModel
    validation: Evaluation
    tests: tuple[Evaluation, ...]
    seconds: float
    history: tuple[Epoch, ...] = ()
    stopped: str = ""


def train(  # noqa: PLR0913 (an argument per option of the command)
    data: Source | TrainingData,
    output: str | Path,
    *,
    name: str | None = None,
    epochs: float | None = None,
    image_size: int | None = None,
    augment: AugmentName = "auto",
    seed: int = 0,
    repeats: int = 1,
    devices: int = 1,
    precision: Precision = "auto",
    refit: bool | None = None,
    time_budget: float | None = None,
    resume: bool = False,
    checkpoint_every: float = 15.0,
    backbone: str = "auto",
    weights: str | Path | None = None,
    network: Module | None = None,
    columns: Columns | None = None,
    checks: Checks | None = None,
    console: Console | None = None,
) -> Trained:
    """Train a network and write it as one self-describing ONNX file, with a model card and a report next to it.

    A network is fitted on the training images; the validation images, a tenth of each class where none are given,
    decide the temperature of its probabilities, and whether a backbone is fine-tuned. Where they were held out here, a
    fresh network is then fitted on all of both in the same way; or, with many small images, the same one for three
    fifths of the epochs, which teaches it as much. The test set is used once, at the end.

    While it trains, Ctrl-C or SIGTERM stops it within two steps, or 250 images whose features are computed, and the
    file has what was learnt so far, or, where a final fit was stopped, the finished network that decided; a second one
    stops it at once. All settings and weights are kept in a checkpoint, `output` with the suffix .checkpoint, until the
    model is complete.

    Args:
        data: what `visionbus.vision.datasets.open_data` takes, or what it has returned.
        output: the .onnx file.
        name: the name by which requests ask for the model; by default the file's stem.
        epochs: how often each image is shown; by default 6 where there are many small images, else 8, and more for
            few images.
        image_size: the pixels per side that image files are cropped and resized to; by default what suits them, at most
            64, or 160 for a backbone. Arrays stay as they are.
        augment: "none"; "flip" left to right; "shift"; "photo": flip, crop, turn, colours; "auto" takes flip up to 32
            pixels per side, photo above.
        seed: fixes weights, order, augmentation and split. On one machine's processor, with the same threads, versions
            and precision, and without a time budget, the same seed gives the same model.
        repeats: train this many networks, with the seeds from `seed` on, and measure each on the test set, to see the
            spread; the first goes into the file.
        devices: the number of processes that share each batch, each with a GPU where there are some.
        precision: "fp32", "bf16", or "auto", which takes bf16 where a short trial is faster.
        refit: whether a final network is fitted on training and validation images together; by default if no validation
            split was given.
        time_budget: the seconds that all of this may take; there are fewer epochs if need be.
        resume: go on from the checkpoint of an interrupted training with the same output, as was planned then: with
            the options of then, whatever is left at its default now, and without a time budget. Other values than then
            are refused.
        checkpoint_every: the seconds after which the checkpoint is written, besides the end of each epoch.
        backbone: the name of a network of timm, with pretrained weights; "none" for ours, from scratch; "auto" for a
            backbone where the images are photographs and its weights are on this machine, and for ours elsewhere.
        weights: the file of the backbone's weights, .safetensors or of torch.save; by default those on this machine, or
            from the hub.
        network: the user's own, in place of ours: a module (of which copies are trained), or a function of the number
            of classes and the `Input` that makes one. It maps uint8 [n, height, width, channel] to logits.
        columns: which columns of a table mean what.
        checks: what is let pass in the data.
        console: where to report progress; by default nowhere.

    Raises:
        DatasetError: if the data cannot be loaded, or is too little.
        CheckpointError: if there is no checkpoint to go on from, or it is of other data or another network; or if
            another process trains to the same output.
        DivergedError: if the loss became infinite, or not a number.
        ModelError: if torch cannot export the user's own network, which is tried before it is trained.
        ProcessError: if a process fails, where there are several; or if this is one that helps another training.
        WeightsError: if the weights of the backbone cannot be had, or are of another network.
        ModuleNotFoundError: if a backbone is asked for, and timm is not installed.
        TypeError: if the user's own network does not map images to logits.
        ValueError: if an option is out of range.
        OSError: if the file cannot be written.
        KeyboardInterrupt: if it is stopped before anything is learnt.
    """
    began = time.monotonic()
    refuse_children()
    output, weights = Path(output), None if weights is None else Path(weights)
    options = Options(
        epochs=epochs,
        image_size=image_size,
        backbone=backbone,
        weights=str(weights) if weights is not None else None,
        augment=augment,
        seed=seed,
        repeats=repeats,
        devices=devices,
        precision=precision,
        refit=refit,
        time_budget=time_budget,
        name=name,
    )
    if output.suffix != ".onnx":  # the card, with its suffix, must not replace it
        raise ValueError(f"the output must end in .onnx, not {output.name!r}: name it {output.stem}.onnx")
    if name is None and not is_name(output.stem):
        raise ValueError(f"the name {output.stem!r} is no text of UTF-8: give the model another one (--name)")
    for written in (output, output.with_suffix(".md"), output.with_suffix(".html")):
        if written.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(written))
    path = checkpoints.path_for(output)
    source = NetworkSource(network, backbone, weights)
    with checkpoints.claimed(path, output), TrainingProgress(console) as progress:
        earlier = checkpoints.load(path) if resume else None
        if earlier:
            options.check_against(earlier.plan.options)
            if time_budget is not None:
                progress.say("note: a training that goes on heeds no time budget")
        spec = earlier.plan.input if earlier else input_for(source, image_size)
        seed = earlier.plan.seed if earlier else seed
        opened = open_for_training(data, spec, seed=seed, columns=columns, checks=checks, progress=progress)
        _check_size(opened, image_size)
        if earlier:
            plan = gone_on(earlier, opened, source, progress)
        else:
            plan = planned(opened, options, source, began, progress)
            checkpoints.save(Checkpoint(plan, checkpoints.digest(opened), environment()), path)
        ends = math.inf if earlier else end_of_fits(plan, began)
        learnt = part_of(opened, plan, progress)
        name = plan.options.name or output.stem
        with Stop() as stop:
            outcome = Session(plan, learnt, source, path, checkpoint_every, ends, progress, stop).run()
            if outcome.stopped:
                again = "; Ctrl-C again ends at once" if stop.requested else ""
                progress.say(f"stopped: {outcome.stopped}; writing what there is{again}")
            progress.doing("writing the model and its report")
            made = provenance(
                plan,
                _file_name(data) or opened.name,
                output,
                name=name,
                columns=columns,
                checks=checks,
                typed=isinstance(data, str | os.PathLike),
            )
            described = Metadata(name, plan.classes, plan.input, figures(outcome, plan, opened, learnt), made)
            model = _write(outcome, opened, output, described, checked=plan.checked)
        if outcome.stopped:
            progress.say("the same command with --resume goes on")
        else:
            checkpoints.remove(path)
    return Trained(
        output,
        model,
        outcome.validation,
        outcome.tests,
        time.monotonic() - began,
        outcome.checkpoint.history,
        outcome.stopped,
    )


def _file_name(data: Source | TrainingData) -> str:
    """Return the name of what the data was opened from, without the folders above it; empty if it is no path."""
    return Path(data).name if isinstance(data, str | os.PathLike) else ""


def _check_size(opened: TrainingData, image_size: int | None) -> None:
    if image_size is not None and {opened.input.height, opened.input.width} != {image_size}:
        raise DatasetError(f"arrays stay {opened.input.height} x {opened.input.width}: leave the image size out")


def _write(outcome: Outcome, opened: TrainingData, output: Path, described: Metadata, *, checked: int) -> OnnxModel:
    """Write the model file, its card and the report about it."""
    with replacing(output.with_suffix(".md")) as card_file:
        images = opened.train.images
        some = np.linspace(0, len(images) - 1, min(len(images), checked)).astype(int)  # files may be in order of class
        model = write(outcome.classifier, output, described, images=images[some])
        card_file.write_text(card(model), encoding="utf-8")
    command = str(described.provenance["command"])
    write_report(output.with_suffix(".html"), model, opened, outcome.measured, command=command)
    return model
