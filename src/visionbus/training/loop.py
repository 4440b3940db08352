"""The training loop: fits a network to images by gradient descent."""

import math
import time
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch
from lightning_fabric import Fabric
from torch import nn

from visionbus.training.augment import Augment
from visionbus.training.classifier import as_tensor
from visionbus.vision import Dataset

_STEPS = 600  # with fewer steps, a fresh network learns little
_MAX_EPOCHS = 60


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: SGD with Nesterov momentum; the learning rate rises once and falls once.

    Attributes:
        epochs: how often each image is shown, at least 1.
        batch: the largest number of images per step, at least 2; the steps of an epoch share its images evenly.
        rate: the learning rate at its peak.
        warmup: the fraction of the steps in which the rate rises linearly from 0; then it falls linearly to 0.
        momentum: 0 to 1.
        decay: the weight decay of the convolutions and the head.
        smoothing: label smoothing, 0 to 1.
        augment: the random changes to the images.

    Raises:
        ValueError: if a value is out of range.
    """

    epochs: int = 8
    batch: int = 250
    rate: float = 0.1
    warmup: float = 0.25
    momentum: float = 0.9
    decay: float = 2e-3
    smoothing: float = 0.1
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"epochs must be at least 1 and batch at least 2, not {self.epochs} and {self.batch}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a fraction of the steps, from 0 to below 1, not {self.warmup}")

    @classmethod
    def for_images(cls, images: int) -> Self:
        """Return a recipe for this many images: with few of them, smaller batches and more epochs make enough steps."""
        batch = min(max(images // 20, 16), cls.batch)
        epochs = min(max(cls.epochs, math.ceil(_STEPS * batch / images)), _MAX_EPOCHS)
        return cls(epochs=epochs, batch=batch, rate=cls.rate * batch / cls.batch)

    def steps(self, images: int) -> int:
        """Return the number of steps for this many images."""
        return self.epochs * math.ceil(images / self.batch)

    def rate_at(self, done: float) -> float:
        """Return the learning rate after the fraction `done` of all steps, 0 to 1."""
        return self.rate * min(done / self.warmup if self.warmup else 1.0, (1 - done) / (1 - self.warmup))


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch.

    Attributes:
        number: counted from 1.
        of: the number of epochs in all.
        images: how many were shown.
        loss: the mean over the images.
        accuracy: on the augmented images, while the network was learning, 0 to 1.
        seconds: how long it took.
    """

    number: int
    of: int
    images: int
    loss: float
    accuracy: float
    seconds: float

    @property
    def left(self) -> float:
        """The seconds that the remaining epochs will take at this speed."""
        return self.seconds * (self.of - self.number)


class Observer(Protocol):
    """Follows the progress of a fit."""

    def step(self) -> None:
        """Called after each step."""

    def epoch(self, epoch: Epoch) -> None:
        """Called after each epoch."""


def fit(network: nn.Module, dataset: Dataset, recipe: Recipe, *, fabric: Fabric, seed: int, observer: Observer) -> None:
    """Train a network in place on all of a data set.

    Args:
        network: maps uint8 [n, height, width, channel] to logits, float [n, class].
        dataset: the images and labels.
        recipe: how to train.
        fabric: the device and the precision.
        seed: of the order of the images and the changes to them.
        observer: is called after each step and each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = (fabric.to_device(as_tensor(array)) for array in (dataset.images, dataset.labels))
    model, optimizer = fabric.setup(network, _optimizer(network, recipe))
    model.train()
    steps, step = recipe.steps(len(dataset)), 0
    for number in range(1, recipe.epochs + 1):
        began = time.monotonic()
        loss_sum, right = torch.zeros(2, device=fabric.device)
        for chosen in torch.randperm(len(dataset), generator=generator).tensor_split(steps // recipe.epochs):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate_at(step / steps)
            truth = labels[chosen]
            logits = model(recipe.augment(images[chosen], generator))
            loss = nn.functional.cross_entropy(logits, truth, label_smoothing=recipe.smoothing)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            loss_sum += loss.detach() * len(chosen)
            right += (logits.detach().argmax(dim=1) == truth).sum()
            observer.step()
        shown = len(dataset)
        spent = time.monotonic() - began
        observer.epoch(Epoch(number, recipe.epochs, shown, loss_sum.item() / shown, right.item() / shown, spent))


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Apply weight decay to weights, but not to biases and norms."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": recipe.decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)
