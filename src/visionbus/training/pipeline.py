"""Trains a model file from data: what `visionbus train` does."""

import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric
from rich.console import Console

from visionbus.training.classifier import Classifier, as_tensor, temperature_for
from visionbus.training.export import export
from visionbus.training.loop import Recipe, fit
from visionbus.training.networks import NetworkConfig, build
from visionbus.training.precision import Precision, start
from visionbus.training.progress import TrainingProgress
from visionbus.training.provenance import environment, per_class, seeds, summary
from visionbus.vision import Dataset, DatasetError, Evaluation, evaluate
from visionbus.vision.card import card
from visionbus.vision.datasets import TrainingData, load_training_data, split
from visionbus.vision.files import replacing
from visionbus.vision.metadata import Metadata
from visionbus.vision.onnx import OnnxModel

VALIDATION = 0.1  # the fraction of the training images that is held out at first
_CHECKED = 1000  # images on which the written file is compared with the network


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        path: the model file; its card is next to it, with the suffix .md.
        model: the model, loaded from the file.
        validation: the evaluation, on the held-out images, of a network that was fitted without them.
        tests: the evaluation of each repeat's network on the test set, that of the file first; empty if the data has
            no test set.
        seconds: how long the whole training took.
    """

    path: Path
    model: OnnxModel
    validation: Evaluation
    tests: tuple[Evaluation, ...]
    seconds: float


def train(
    data: str | Path | Dataset | TrainingData,
    output: Path,
    *,
    name: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    precision: Precision = "auto",
    console: Console | None = None,
) -> Trained:
    """Train a network and write it as one self-describing ONNX file, with a model card next to it.

    The temperature of the probabilities is chosen on a tenth of the training images, held out; then a fresh network is
    fitted on all of them in the same way. The test set is used once, at the end.

    Args:
        data: what `visionbus.vision.datasets.open_data` takes, or what it has returned.
        output: the .onnx file.
        name: the name by which requests ask for the model; by default the file's stem.
        epochs: how often each image is shown; by default 8, and more for fewer than 20,000 images.
        seed: fixes weights, order, augmentation and split. On one machine, with the same threads, versions and
            precision, the same seed gives the same model.
        repeats: train this many networks, with the seeds from `seed` on, and measure each on the test set, to see the
            spread; the first goes into the file.
        precision: "fp32", "bf16", or "auto", which takes bf16 where a short trial is faster.
        console: where to report progress; by default nowhere.

    Raises:
        DatasetError: if the data cannot be loaded, or is too little.
        ValueError: if an option is out of range.
        OSError: if the file cannot be written.
    """
    began = time.monotonic()
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    if output.suffix != ".onnx":  # the card, with its suffix, must not replace it
        raise ValueError(f"the output must end in .onnx, not {output.name!r}: name it {output.stem}.onnx")
    with replacing(output.with_suffix(".md")) as card_file:  # now: a folder that is not writable is found early
        with TrainingProgress(console) as progress:
            training = _prepare(load_training_data(data), epochs, seed, precision, progress)
            decided, temperature = training.decide()
            fitted, tests = training.finish(temperature, repeats)
            described = Metadata(
                name or output.stem,
                training.data.train.classes,
                training.data.input,
                training.figures(decided, tests, temperature),
                training.provenance(output, repeats),
            )
            model = export(fitted, output, described, images=training.data.train.images[:_CHECKED])
        card_file.write_text(card(model), encoding="utf-8")
    return Trained(output, model, decided, tests, time.monotonic() - began)


@dataclass(frozen=True, eq=False)
class _Training:
    """What all fits of one training have in common."""

    data: TrainingData
    config: NetworkConfig
    recipe: Recipe
    seed: int
    fabric: Fabric
    precision: Precision
    progress: TrainingProgress

    def decide(self) -> tuple[Evaluation, float]:
        """Fit without the held-out images; return the evaluation on them, and the temperature that suits them best."""
        rest, held_out = split(self.data.train, VALIDATION, seed=self.seed)
        if not len(held_out):
            raise DatasetError("every class has a single image, so none can be held out: add images")
        trial = self._fit(rest, self.seed, f"with {len(held_out)} images held out")
        temperature = temperature_for(trial.logits(held_out.images), held_out.labels)
        decided = evaluate(trial.at(temperature), held_out)
        self.progress.say(f"held out: accuracy {decided.accuracy:.4f}, temperature {temperature:.3f}")
        return decided, temperature

    def finish(self, temperature: float, repeats: int) -> tuple[Classifier, tuple[Evaluation, ...]]:
        """Fit on all images with each seed; return the first network, and the evaluation of each on the test set."""
        fitted, tests = [], []
        for number in range(repeats):
            seed = self.seed + number
            fitted.append(self._fit(self.data.train, seed, f"with all images, seed {seed}").at(temperature))
            if self.data.test is not None:
                tests.append(evaluate(fitted[-1], self.data.test))
                self.progress.say(f"test, seed {seed}: accuracy {tests[-1].accuracy:.4f}")
        return fitted[0], tuple(tests)

    def figures(self, decided: Evaluation, tests: tuple[Evaluation, ...], temperature: float) -> dict[str, object]:
        """Return the figures that go into the model file."""
        known: dict[str, object] = {
            "dataset": self.data.name,
            "train": {"images": len(self.data.train)},
            "validation": summary(decided) | {"temperature": round(temperature, 4)},
            "parameters": self.config.parameters(),
        }
        if tests:
            known |= {"test": summary(tests[0]), "repeats": seeds(tests, self.seed), "per_class": per_class(tests[0])}
        return known

    def provenance(self, output: Path, repeats: int) -> dict[str, object]:
        """Return the provenance that goes into the model file."""
        command = ["visionbus", "train", self.data.name, "-o", output.name, "--epochs", str(self.recipe.epochs)]
        command += ["--seed", str(self.seed), "--repeats", str(repeats), "--precision", self.precision]
        return {
            "command": shlex.join(command),
            "seed": self.seed,
            "precision": self.precision,
            "recipe": asdict(self.recipe),
        } | environment()

    def _fit(self, images: Dataset, seed: int, what: str) -> Classifier:
        self.progress.stage(what, self.recipe.steps(len(images)))
        network = build(self.config, images.images, seed=seed)
        fit(network, images, self.recipe, fabric=self.fabric, seed=seed, observer=self.progress)
        return Classifier(network, images.classes, self.data.input)


def _prepare(
    data: TrainingData, epochs: int | None, seed: int, precision: Precision, progress: TrainingProgress
) -> _Training:
    """Choose the recipe and the network for the data, and start the device."""
    for skipped in data.skipped:
        progress.say(f"skipped {skipped.name}: {skipped.reason}")
    recipe = Recipe.for_images(len(data.train))
    recipe = replace(recipe, epochs=epochs) if epochs is not None else recipe
    config = NetworkConfig.for_images(data.input, len(data.train.classes))
    batch = data.train.images[: recipe.batch]
    fabric, precision = start(precision, build(config, batch, seed=seed), as_tensor(batch))
    height, width, channels = data.input.shape
    progress.say(
        f"{len(data.train)} images of {height} x {width} x {channels}, {len(data.train.classes)} classes; {precision}"
    )
    return _Training(data, config, recipe, seed, fabric, precision, progress)
