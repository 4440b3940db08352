"""Data sets: `Dataset`, where data sets come from, and how they are split.

There is one module per source (`fashion` with `fetch`, `folders`, `idx`), `dataset` for the value that they all
return, and `loading` for the names by which users ask for them.
"""

from visionbus.vision.datasets.dataset import Dataset, split
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.folders import Folder, Skipped, read_folder
from visionbus.vision.datasets.loading import TrainingData, load_evaluation_data, load_training_data

__all__ = [
    "Dataset",
    "Folder",
    "Skipped",
    "TrainingData",
    "fashion_mnist",
    "load_evaluation_data",
    "load_training_data",
    "read_folder",
    "split",
]
