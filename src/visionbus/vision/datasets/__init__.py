"""Data sets: `Dataset`, where they come from, and how they are split.

A module for each source (`fashion` with `fetch`, `folders`, `idx`), `dataset` for the value that they all give, and
`opening` for what a user calls them.
"""

from visionbus.vision.datasets.dataset import Dataset, split
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.folders import Folder, Skipped, read_folder
from visionbus.vision.datasets.opening import TrainingData, open_for, open_training

__all__ = [
    "Dataset",
    "Folder",
    "Skipped",
    "TrainingData",
    "fashion_mnist",
    "open_for",
    "open_training",
    "read_folder",
    "split",
]
