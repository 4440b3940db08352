"""Says what of the data is let pass: `Checks`, and the refusals that it leads to."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionbus.vision.datasets.listing import Skipped
from visionbus.vision.datasets.opened import TrainingData
from visionbus.vision.errors import DatasetError

_FIRST = 3  # broken files that an error names


@dataclass(frozen=True)
class Checks:
    """What is let pass.

    Attributes:
        allow_broken: the share of files that may be broken, 0 to 1.
        keep_leaks: whether images stay in validation and test whose pixels training has, too, or that have two labels.
        outside: whether links and tables may lead to files outside of the data's folder.

    Raises:
        ValueError: if the share is out of range.
    """

    allow_broken: float = 0.1
    keep_leaks: bool = False
    outside: bool = False

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.allow_broken <= 1:
            raise ValueError(f"allow_broken must be a share, 0 to 1, not {self.allow_broken}")


def check_broken(source: str | Path, skipped: Sequence[Skipped], count: int, allowed: float) -> None:
    """Refuse a source of `count` files of which a larger share than `allowed` is broken.

    Raises:
        DatasetError: if it is larger; it names the first ones.
    """
    if len(skipped) > allowed * count:
        listed = "; ".join(f"{one.name}: {one.reason}" for one in skipped[:_FIRST])
        share = min(math.ceil(100 * len(skipped) / count) / 100, 1.0)
        raise DatasetError(
            f"{len(skipped)} of {count} files in {os.fspath(source)} are broken, more than {allowed:g} of them "
            f"({listed}): mend or remove them, or go on without them by --allow-broken {share:g}"
        )


def check_classes(data: TrainingData) -> None:
    """Refuse data that nothing can be learnt from.

    Raises:
        DatasetError: if there are images of fewer than two classes.
    """
    if not len(data.train):
        raise DatasetError(f"{data.name} has no training images: give some, called train where there are splits")
    present = [data.train.classes[label] for label in np.unique(data.train.labels)]
    if len(present) < 2:
        raise DatasetError(
            f"{data.name} has images of one class only, {present[0]!r}: give images of at least two "
            "(in a folder, one subfolder per class)"
        )
