"""Collects the figures and the provenance that a model file keeps."""

import platform
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from visionbus.training.history import compact, spoilt
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


def figures(outcome: Outcome, plan: Plan, data: TrainingData, learnt: TrainingData) -> dict[str, object]:
    """Return the figures of a training, which had the time for a part of the data, `learnt`, or for all of it."""
    checkpoint = outcome.checkpoint
    undone = bool(checkpoint.finished) and spoilt(checkpoint.history, plan.seed)
    together = plan.refit and len(checkpoint.finished) > 1
    images, there = (len((together and one.trainval) or one.train) for one in (learnt, data))
    known: dict[str, object] = {
        "dataset": data.name,
        "train": {"images": images} | ({"of": there} if images < there else {}),
        "validation": summary(outcome.validation) | {"temperature": round(outcome.classifier.temperature, 4)},
        "parameters": sum(one.numel() for one in outcome.classifier.network.parameters() if one.requires_grad),
        "history": compact(checkpoint.history, plan.seed, undone=undone),
    }
    if outcome.tests:
        first = outcome.tests[0]
        known |= {"test": summary(first), "repeats": seeds(outcome.tests, plan.seed), "per_class": per_class(first)}
    if undone:
        known["fine_tuning"] = "left out: with it, the network was worse on the images held out"
    return known | ({"stopped": outcome.stopped} if outcome.stopped else {})


def provenance(
    plan: Plan, data: str, output: Path, *, name: str, columns: Columns | None, checks: Checks | None, typed: bool
) -> dict[str, object]:
    """Return how a model was made: what makes it again, all settings, and the environment.

    Args:
        plan: all settings.
        data: the name of what was learnt.
        output: the file.
        name: the model's.
        columns: of a table.
        checks: what was let pass.
        typed: whether a command can name the data; else a call in Python does.
    """
    columns, checks = columns or Columns(), checks or Checks()
    if columns.folder:  # a file names no path of the machine that made it
        columns = replace(columns, folder=Path(columns.folder.name))
    chosen: dict[str, object] = {"name": name} if name != output.stem else {}
    epochs = plan.recipe.epochs
    chosen |= {"epochs": int(epochs) if epochs == int(epochs) else epochs, "seed": plan.seed, "repeats": plan.repeats}
    chosen |= {"precision": plan.precision, **_other(plan)}
    if typed and "own" not in plan.network:
        made = shlex.join([*_command(data, output, chosen), *option_words(columns, checks)])
    else:
        chosen |= {"columns": columns} if columns != Columns() else {}
        chosen |= {"checks": checks} if checks != Checks() else {}
        made = _call(
            repr(data) if typed else data if data.isidentifier() else "data", output, chosen, plan.network.get("own")
        )
    settings = {
        key: value for key, value in plan.to_json().items() if key not in {"input", "classes", "phases", "options"}
    }
    if weights := plan.network.get("weights"):
        settings["network"] = {**plan.network, "weights": Path(str(weights)).name}
    made = made.encode(errors="backslashreplace").decode()  # names of files may be no text
    return {"command": made, **settings, **environment()}


def _command(data: str, output: Path, chosen: Mapping[str, object]) -> list[str]:
    """Return the command that makes a model again."""
    words = ["visionbus", "train", f"./{data}" if data.startswith("-") else data, "-o", output.name]
    for option, value in chosen.items():
        flag = option.replace("_", "-")
        switch = {True: [f"--{flag}"], False: [f"--no-{flag}"]}
        words += switch[value] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return words


def _call(data: str, output: Path, chosen: Mapping[str, object], own: object) -> str:
    """Return the call in Python that makes a model again; `data` is an expression, `own` the user's network, if any."""
    words = [data, f"Path({output.name!r})", *(f"{option}={value!r}" for option, value in chosen.items())]
    words += [f"network={own}"] if own else []
    return f"visionbus.training.train({', '.join(words)})".replace("PosixPath(", "Path(").replace(
        "WindowsPath(", "Path("
    )


def _other(plan: Plan) -> dict[str, object]:
    """Return the other options, where they are not the default; a backbone is named."""
    options, default = plan.options, Options()
    if plan.network.get("kind") == "backbone":
        options = replace(options, backbone=str(plan.network["name"]))
    names = ("image_size", "augment", "backbone", "weights", "devices", "refit")
    other = {name: value for name in names if (value := getattr(options, name)) != getattr(default, name)}
    if options.weights is not None:
        other["weights"] = Path(Path(options.weights).name)
    return other


def environment() -> dict[str, object]:
    """Return the versions of the libraries, the processor and the number of threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    return {
        "versions": {"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        "processor": device,
        "threads": torch.get_num_threads(),
    }
