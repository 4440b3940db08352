"""Data sets: `Dataset`, where they come from, and how they are split."""

from visionbus.vision.datasets.dataset import Dataset, split
from visionbus.vision.datasets.fashion import fashion_mnist

__all__ = ["Dataset", "fashion_mnist", "split"]
