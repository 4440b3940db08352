"""Trains image classifiers with torch (extra `train`): `train` does everything, each module below does one part."""

import os
from importlib.util import find_spec

# Read when torch is loaded: for how long threads of OpenMP that wait for each other spin. Less costs time where nobody
# else needs the cores, more where somebody does (docs/decisions/0207-training.md).
if "OMP_WAIT_POLICY" not in os.environ:  # which it would overrule
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

try:
    import lightning_fabric  # noqa: F401 (to say at once what is missing)
    import onnx  # noqa: F401 (the same)
    import onnxscript  # noqa: F401 (the same)
    import torch  # noqa: F401 (the same)
except ModuleNotFoundError as error:
    missing = error.name if find_spec("torch") else "torch"  # of several, the one that people know
    raise ModuleNotFoundError(
        f"training needs {missing}, which is not installed: pip install 'visionbus[train]'", name=missing
    ) from None

from visionbus.training.augment import Augment
from visionbus.training.classifier import Classifier, temperature_for
from visionbus.training.errors import CheckpointError, DivergedError, ProcessError, TrainingError, WeightsError
from visionbus.training.export import export
from visionbus.training.history import Epoch
from visionbus.training.loop import Control, fit
from visionbus.training.networks import Network, NetworkConfig, Pixels
from visionbus.training.pipeline import Trained, train
from visionbus.training.recipe import Phase, Recipe

__all__ = [
    "Augment",
    "CheckpointError",
    "Classifier",
    "Control",
    "DivergedError",
    "Epoch",
    "Network",
    "NetworkConfig",
    "Phase",
    "Pixels",
    "ProcessError",
    "Recipe",
    "Trained",
    "TrainingError",
    "WeightsError",
    "export",
    "fit",
    "temperature_for",
    "train",
]
