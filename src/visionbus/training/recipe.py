"""How a network is fitted, as values: the recipe, and the phases that a fit consists of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

from torch import nn

from visionbus.training.augment import Augment

_STEPS = 600  # with fewer steps, a fresh network learns little
_MAX_EPOCHS = 60


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted; in each phase the learning rate rises and falls once.

    The steps are those of SGD with Nesterov momentum, but for what `orthogonal` and `Phase.adaptive` say.

    Attributes:
        epochs: how often each image is shown, above 0; with 0.5, half of the images are shown.
        batch: the largest number of images per step, at least 2; the steps of an epoch share its images evenly.
        rate: the learning rate at its peak, above 0.
        warmup: the fraction of the steps in which the rate rises linearly from 0; then it falls linearly to 0.
        momentum: from 0 to below 1.
        decay: the weight decay of all weights but biases and those of norms, at least 0.
        smoothing: label smoothing, from 0 to below 1.
        orthogonal: the learning rate, at its peak, of orthogonalised steps of the convolutions, as a share of the norm
            of their weights, which is kept: each must be followed by a batch norm. 0 for plain steps.
        augment: the random changes to the images.
        weights: a factor for the loss of each class, whose mean over the images is 1; none for 1 throughout.

    Raises:
        ValueError: if a value is out of range.
    """

    epochs: float = 8
    batch: int = 250
    rate: float = 0.1
    warmup: float = 0.25
    momentum: float = 0.9
    decay: float = 2e-3
    smoothing: float = 0.1
    augment: Augment = field(default_factory=Augment)
    weights: tuple[float, ...] = ()
    orthogonal: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.epochs < math.inf:
            raise ValueError(f"epochs must be a number above 0, not {self.epochs}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2 images, not {self.batch}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a fraction of the steps, from 0 to below 1, not {self.warmup}")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be a number above 0, not {self.rate}")
        for name in ("momentum", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {getattr(self, name)}")
        for name in ("decay", "orthogonal"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, not {getattr(self, name)}")

    @classmethod
    def for_images(cls, images: int, *, most: int = batch, least: float = epochs) -> Self:
        """Return a recipe for this many images: with few of them, smaller batches and more epochs make enough steps.

        Args:
            images: that are learnt.
            most: the largest batch.
            least: the fewest epochs.
        """
        batch = min(max(images // 20, 16), most)
        epochs = min(max(least, math.ceil(_STEPS * batch / images)), _MAX_EPOCHS)
        return cls(epochs=epochs, batch=batch, rate=cls.rate * batch / cls.batch)

    def steps_per_epoch(self, images: int) -> int:
        """Return how many steps show this many images once."""
        return math.ceil(images / self.batch)

    def steps(self, images: int) -> int:
        """Return the number of steps for this many images."""
        return max(round(self.epochs * self.steps_per_epoch(images)), 1)

    def phase_steps(self, phases: "Sequence[Phase]", images: int) -> tuple[int, ...]:
        """Return the number of steps in each phase, at least one."""
        return tuple(replace(self, epochs=self.epochs * phase.epochs).steps(images) for phase in phases)

    def rate_at(self, done: float) -> float:
        """Return the learning rate after the fraction `done` of all steps, 0 to 1."""
        return self.rate * min(done / self.warmup if self.warmup else 1.0, (1 - done) / (1 - self.warmup))

    def to_json(self) -> dict[str, object]:
        """Return the values by their names."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the recipe whose `to_json` is `value`, as JSON gives it back."""
        return cls(**{**value, "augment": Augment(**value["augment"]), "weights": tuple(value["weights"])})


@dataclass(frozen=True)
class Phase:
    """A part of a fit: how long it lasts, how fast it learns, and what of the network learns in it.

    What does not learn in a phase stays as it is, batch statistics included.

    Attributes:
        epochs: a factor of the recipe's epochs.
        rate: a factor of the recipe's learning rate.
        learns: the beginnings of the names of the parameters that learn; an empty text stands for all of them.
        adaptive: whether its steps are those of AdamW instead of SGD. They want rates about a twentieth as high.
        features: whether `network.features(images)` is computed once for each image, unchanged, and only the module
            `network.head` is fitted, to these; `network(images)` must be `network.head(network.features(images))`.
    """

    epochs: float = 1.0
    rate: float = 1.0
    learns: tuple[str, ...] = ("",)
    features: bool = False
    adaptive: bool = False


@runtime_checkable
class Phased(Protocol):
    """A network that is fitted in phases of its own."""

    def phases(self) -> Sequence[Phase]:
        """Return the phases in their order, at least one."""


def phases_of(network: nn.Module) -> tuple[Phase, ...]:
    """Return the phases in which a network is fitted: those that it defines, or a single one.

    Raises:
        ValueError: if it defines none.
    """
    phases = tuple(network.phases()) if isinstance(network, Phased) else (Phase(),)
    if not phases:
        raise ValueError(f"phases() of {type(network).__name__} returns none: return at least one Phase")
    return phases
