"""The training loop: shows a network its images, a few times over."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from visionbus.training.augment import Augment
from visionbus.vision.datasets import Dataset


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted.

    Attributes:
        epochs: how often each image is shown.
        batch: images a step.
        rate: the learning rate at its peak.
        warmup: the share of the steps in which the rate rises, linearly from 0; it then falls linearly to 0.
        momentum: Nesterov's.
        decay: weight decay, of convolutions and the head.
        smoothing: label smoothing.
        augment: random changes to the images.
    """

    epochs: int = 7
    batch: int = 250
    rate: float = 0.1
    warmup: float = 0.25
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.1
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        loss: the mean over its images.
        accuracy: on the augmented training images as they were shown, 0 to 1.
        seconds: it took.
    """

    number: int
    loss: float
    accuracy: float
    seconds: float


def fit(
    network: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    fabric: Fabric,
    seed: int,
    report: Callable[[Epoch], None] = lambda _epoch: None,
) -> None:
    """Train `network` in place; `report` is called after each epoch."""
    generator = torch.Generator().manual_seed(seed)
    images = fabric.to_device(torch.from_numpy(dataset.images))
    labels = fabric.to_device(torch.from_numpy(dataset.labels))
    model, optimizer = fabric.setup(network, _optimizer(network, recipe))
    model.train()
    steps = recipe.epochs * -(-len(dataset) // recipe.batch)
    step = 0
    for number in range(1, recipe.epochs + 1):
        began = time.monotonic()
        loss_sum = torch.zeros((), device=fabric.device)
        right = torch.zeros((), device=fabric.device)
        for chosen in _batches(len(dataset), recipe.batch, generator):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * _triangle(step / steps, recipe.warmup)
            shown = recipe.augment(images[chosen], generator)
            logits = model(shown)
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=recipe.smoothing)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            loss_sum += loss.detach() * len(shown)
            right += (logits.detach().argmax(1) == labels[chosen]).sum()
        size = len(dataset)
        report(Epoch(number, loss_sum.item() / size, right.item() / size, time.monotonic() - began))


def _optimizer(network, recipe):
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return torch.optim.SGD([{'params': decayed, 'weight_decay': recipe.decay}, {'params': rest}], lr=recipe.rate, momentum=recipe.momentum, nesterov=True)

def _batches(size, batch, generator):
    order = torch.randperm(size, generator=generator)
    yield from order.split(batch)

def _triangle(done, warmup):
    return min(done / warmup if warmup else 1.0, (1 - done) / (1 - warmup))
