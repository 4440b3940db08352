"""Collects the figures and the provenance that a model file keeps."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from visionbus.vision import Evaluation

_LIBRARIES = ("visionbus", "torch", "lightning-fabric", "numpy", "pillow", "onnx")
_EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


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


def environment() -> dict[str, object]:
    """Return the versions of the libraries, the processor and the number of threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "versions": {"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        "processor": device,
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Return the name of the processor, and those of its extensions that matter for the speed of training."""
    description = Path("/proc/cpuinfo")
    lines = description.read_text(encoding="utf-8").splitlines() if description.exists() else []
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = entries.get("model name") or platform.processor() or platform.machine()
    extensions = [flag for flag in _EXTENSIONS if flag in entries.get("flags", "").split()]
    return f"{name}, {os.cpu_count()} cores" + (f", {' '.join(extensions)}" if extensions else "")
