"""What a user may decide about a training."""

import math
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Literal, get_args

from visionbus.training.augment import AugmentName
from visionbus.training.errors import CheckpointError
from visionbus.vision.names import is_name

Precision = Literal["auto", "fp32", "bf16"]

_MOST_EPOCHS = 1_000_000
_MOST_REPEATS = 100


@dataclass(frozen=True)
class Options:
    """What a user may decide; the defaults leave it to the data.

    Attributes:
        epochs: how often each image is shown, above 0.
        image_size: pixels per side that image files are fitted to.
        backbone: the name of a network of timm, "none" or "auto".
        weights: the path of the backbone's weights.
        augment: the random changes to the images.
        seed: fixes weights, order, augmentation and split.
        repeats: the number of networks, with the seeds from `seed` on; the first goes into the file.
        devices: the number of processes, each with a GPU where there are some.
        precision: "auto" takes bf16 where a short trial is faster.
        refit: whether a final network is fitted on training and validation together, as was decided; None does so
            where the validation split was held out here, and not given.
        time_budget: seconds for the whole training; None for as long as it takes.
        name: by which requests ask for the model; None for the file's stem.

    Raises:
        ValueError: if a value is out of range.
    """

    epochs: float | None = None
    image_size: int | None = None
    backbone: str = "auto"
    weights: str | None = None
    augment: AugmentName = "auto"
    seed: int = 0
    repeats: int = 1
    devices: int = 1
    precision: Precision = "auto"
    refit: bool | None = None
    time_budget: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, known in (("precision", get_args(Precision)), ("augment", get_args(AugmentName))):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")
        if not 1 <= self.repeats <= _MOST_REPEATS:
            raise ValueError(f"repeats must be at least 1, at most {_MOST_REPEATS}, not {self.repeats}")
        if self.devices < 1:
            raise ValueError(f"devices must be at least 1, not {self.devices}")
        if self.epochs is not None and not 0 < self.epochs <= _MOST_EPOCHS:
            raise ValueError(f"epochs must be a number above 0, at most {_MOST_EPOCHS}, not {self.epochs}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be at least 0 and below 2**63, not {self.seed}")
        if self.name is not None and not is_name(self.name):
            raise ValueError(f"a name must be a text of UTF-8, and not empty, unlike {self.name!r}")
        if not isinstance(self.time_budget, Real | None):
            raise TypeError(f"time_budget must be a number of seconds, such as 600, not {self.time_budget!r}")
        if self.time_budget is not None and not 0 < self.time_budget < math.inf:
            raise ValueError(f"time_budget must be a number of seconds above 0, not {self.time_budget}")

    def check_against(self, earlier: "Options") -> None:
        """Check that nothing was decided that an earlier training, which is to go on, had otherwise.

        Raises:
            CheckpointError: if something was; the time budget may differ, and is not heeded.
        """
        for name, value in asdict(self).items():
            planned = getattr(earlier, name)
            if name != "time_budget" and value not in {planned, getattr(Options(), name)}:
                had = f"with {name.replace('_', ' ')} {planned}, not {value}"
                raise CheckpointError(
                    f"the checkpoint was planned {f'without {name}'.replace('_', ' ') if planned is None else had}: "
                    "leave that out, or train anew"
                )
