"""Collects the figures and the provenance that a model file keeps."""

import platform
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from visionbus.training.history import compact
from visionbus.training.options import Options
from visionbus.training.plan import Plan
from visionbus.training.session import Outcome
from visionbus.vision import Evaluation
from visionbus.vision.datasets import Checks, Columns, TrainingData
from visionbus.vision.datasets.words import option_words
from visionbus.vision.processor import processor

_LIBRARIES = ("visionbus", "torch", "lightning-fabric", "numpy", "pillow", "onnx")


def summary(evaluation: Evaluation) -> dict[str, object]:
    """Return the main figures of an evaluation, rounded to four decimals."""
    return {
        "images": evaluation.images,
        "accuracy": round(evaluation.accuracy, 4),
        "loss": round(evaluation.calibration.loss, 4),
        "calibration_error": round(evaluation.calibration.error, 4),
    }


def per_class(evaluation: Evaluation) -> dict[str, object]:
    """Return precision, recall, F1 and support of each class, rounded to four decimals."""
    return {
        name: {
            "precision": round(figures.precision, 4),
            "recall": round(figures.recall, 4),
            "f1": round(figures.f1, 4),
            "support": figures.support,
        }
        for name, figures in evaluation.per_class.items()
    }


def seeds(tests: Sequence[Evaluation], first: int) -> dict[str, object]:
    """Return the test accuracies of networks with the seeds from `first` on, their mean and standard deviation."""
    accuracies = [round(test.accuracy, 4) for test in tests]
    return {
        "seeds": list(range(first, first + len(tests))),
        "accuracy": accuracies,
        "mean": round(statistics.fmean(accuracies), 4),
        "standard_deviation": round(statistics.stdev(accuracies), 4) if len(accuracies) > 1 else None,
    }


def figures(outcome: Outcome, plan: Plan, data: TrainingData) -> dict[str, object]:
    """Return the figures of a training."""
    known: dict[str, object] = {
        "dataset": data.name,
        "train": {"images": plan.images[plan.refit and len(outcome.checkpoint.finished) > 1]},
        "validation": summary(outcome.validation) | {"temperature": round(outcome.classifier.temperature, 4)},
        "parameters": sum(one.numel() for one in outcome.classifier.network.parameters() if one.requires_grad),
        "history": compact(outcome.checkpoint.history, plan.seed),
    }
    if outcome.tests:
        first = outcome.tests[0]
        known |= {"test": summary(first), "repeats": seeds(outcome.tests, plan.seed), "per_class": per_class(first)}
    return known | ({"stopped": outcome.stopped} if outcome.stopped else {})


def provenance(
    plan: Plan, data: str, output: Path, *, name: str, columns: Columns | None, checks: Checks | None
) -> dict[str, object]:
    """Return how a model was made: the command that makes it again, all settings, and the environment."""
    columns = columns or Columns()
    if columns.folder:  # a file names no path of the machine that made it
        columns = replace(columns, folder=Path(columns.folder.name))
    source = f"./{data}" if data.startswith("-") else data
    command = ["visionbus", "train", source, "-o", output.name]
    if name != output.stem:
        command += ["--name", name]
    command += ["--epochs", f"{plan.recipe.epochs:.10g}", "--seed", str(plan.seed), "--repeats", str(plan.repeats)]
    command += ["--precision", plan.precision, *_other(plan), *option_words(columns, checks or Checks())]
    settings = {
        key: value for key, value in plan.to_json().items() if key not in {"input", "classes", "phases", "options"}
    }
    if weights := plan.network.get("weights"):
        settings["network"] = {**plan.network, "weights": Path(str(weights)).name}
    typed = shlex.join(command).encode(errors="backslashreplace").decode()  # names of files may be no text
    return {"command": typed, **settings, **environment()}


def _other(plan: Plan) -> list[str]:
    """Return the other options of the command, where they are not the default; a backbone is named."""
    options = plan.options
    if plan.network.get("kind") == "backbone":
        options = replace(options, backbone=str(plan.network["name"]))
    if options.weights is not None:
        options = replace(options, weights=Path(options.weights).name)
    words = []
    for flag in ("image_size", "augment", "backbone", "weights", "devices"):
        if (value := getattr(options, flag)) != getattr(Options(), flag):
            words += [f"--{flag.replace('_', '-')}", str(value)]
    return words + {None: [], True: ["--refit"], False: ["--no-refit"]}[options.refit]


def environment() -> dict[str, object]:
    """Return the versions of the libraries, the processor and the number of threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    return {
        "versions": {"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        "processor": device,
        "threads": torch.get_num_threads(),
    }
