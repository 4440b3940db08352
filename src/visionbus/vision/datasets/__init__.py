"""Data sets: `Dataset`, where data sets come from, and how they are split.

`opening` opens any data. `folders` and `tables` list image files, which `opening_files` has decoded by `decoding` with
the help of `pixel_cache`; `array_sources` gets arrays by `npz`, `idx` and `streams`, which `opening_arrays` brings into
one shape by `arrays`. `holdout` makes a validation split, `opened` checks the splits for `leaks`, `checks` refuses.
"""

from visionbus.vision.datasets.checks import Checks
from visionbus.vision.datasets.dataset import Dataset, split
from visionbus.vision.datasets.decoding import Decoding
from visionbus.vision.datasets.fashion import fashion_mnist
from visionbus.vision.datasets.holdout import Holdout
from visionbus.vision.datasets.leaks import Leak
from visionbus.vision.datasets.listing import Skipped
from visionbus.vision.datasets.loading import (
    Folder,
    load_evaluation_data,
    open_evaluation_data,
    read_folder,
)
from visionbus.vision.datasets.opened import TrainingData
from visionbus.vision.datasets.opening import open_data
from visionbus.vision.datasets.streams import ArrayData, ImageStream
from visionbus.vision.datasets.tables import Columns

__all__ = [
    "ArrayData",
    "Checks",
    "Columns",
    "Dataset",
    "Decoding",
    "Folder",
    "Holdout",
    "ImageStream",
    "Leak",
    "Skipped",
    "TrainingData",
    "fashion_mnist",
    "load_evaluation_data",
    "open_data",
    "open_evaluation_data",
    "read_folder",
    "split",
]
