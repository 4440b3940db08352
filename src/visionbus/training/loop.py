"""The training loop: shows a network its images, a few times over."""

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

_STEPS = 600  # fewer than so many steps teach a fresh network little
_MOST_EPOCHS = 60


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: SGD with Nesterov's momentum, under a rate that rises and falls once.

    Attributes:
        epochs: how often each image is shown.
        batch: images a step, at most; the steps of an epoch share its images evenly.
        rate: the learning rate at its peak.
        warmup: the share of the steps in which the rate rises, linearly from 0; then it falls linearly to 0.
        momentum: 0 to 1.
        decay: weight decay, of the convolutions and the head.
        smoothing: label smoothing, 0 to 1.
        augment: random changes to the images.
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
        """Refuse values out of range."""
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"at least 1 epoch and batches of 2 images, not {self.epochs} and {self.batch}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the steps, from 0 to below 1, not {self.warmup}")

    @classmethod
    def for_images(cls, images: int) -> Self:
        """Choose for so many images: smaller batches and more epochs for few, so that the steps suffice to learn."""
        batch = min(max(images // 20, 16), cls.batch)
        epochs = min(max(cls.epochs, math.ceil(_STEPS * batch / images)), _MOST_EPOCHS)
        return cls(epochs=epochs, batch=batch, rate=cls.rate * batch / cls.batch)

    def steps(self, images: int) -> int:
        """Count the steps that so many images take."""
        return self.epochs * math.ceil(images / self.batch)

    def rate_at(self, done: float) -> float:
        """Give the learning rate when the share `done` of all steps, 0 to 1, is done."""
        return self.rate * min(done / self.warmup if self.warmup else 1.0, (1 - done) / (1 - self.warmup))


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        of: how many there will be.
        images: it showed.
        loss: the mean over its images.
        accuracy: on the images as they were shown, while they were learnt, 0 to 1.
        seconds: it took.
    """

    number: int
    of: int
    images: int
    loss: float
    accuracy: float
    seconds: float

    @property
    def left(self) -> float:
        """Seconds that the epochs to come will take, if they are like this one."""
        return self.seconds * (self.of - self.number)


class Observer(Protocol):
    """Who is told how a fit comes along."""

    def step(self) -> None:
        """Told after each step."""

    def epoch(self, epoch: Epoch) -> None:
        """Told after each epoch."""


def fit(network: nn.Module, dataset: Dataset, recipe: Recipe, *, fabric: Fabric, seed: int, observer: Observer) -> None:
    """Train `network` in place on all of `dataset`: same seed, same order and same changes to the images."""
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
    """Decay what multiplies, not what is added."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": recipe.decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)
