"""Checks a network that a user brings, before it is trained."""

import torch
from torch import Tensor, nn

from visionbus.vision import Input

_TRIED = (2, 3)  # images at a time: a batch may have any number


def check(network: nn.Module, spec: Input, classes: int) -> None:
    """Check that a network maps uint8 [n, height, width, channel] to float [n, class], by showing it black images.

    Args:
        network: is left as it was.
        spec: the images that it will get.
        classes: their number.

    Raises:
        TypeError: if it is no network, or does not take such images, or returns something else than such a tensor.
        ValueError: if the tensor has another shape, or nothing in the network can learn.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module, not {type(network).__name__}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("nothing in the network can learn: give it parameters, with requires_grad")
    learnt = {name: module.training for name, module in network.named_modules()}
    try:
        for images in _TRIED:
            _try(network.eval(), torch.zeros((images, *spec.shape), dtype=torch.uint8), classes)
    finally:
        for name, module in network.named_modules():
            module.training = learnt[name]


def _try(network: nn.Module, images: Tensor, classes: int) -> None:
    parameter = next(network.parameters())
    shape = list(images.shape)
    try:
        with torch.no_grad():
            logits = network(images.to(parameter.device))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise TypeError(
            f"the network fails on images uint8 {shape} [n, height, width, channel] ({error}): one that takes float "
            "[n, channel, height, width] becomes one that takes pixels by visionbus.training.Pixels"
        ) from error
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        found = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"the network must return logits, a float tensor [n, class], not {found}")
    if logits.shape != (len(images), classes):
        raise ValueError(
            f"the network must return logits of shape [n, {classes}], one for each class; for {len(images)} images it "
            f"returns {list(logits.shape)}"
        )
