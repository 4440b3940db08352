"""Builds the networks of a training: ours, or the user's own."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict

import torch
from torch import nn

from visionbus.training.classifier import as_tensor
from visionbus.training.networks import NetworkConfig, build
from visionbus.training.seeds import random_state_of_its_own
from visionbus.vision import Dataset, Input

NetworkSource = nn.Module | Callable[[int, Input], nn.Module]

_PROCESSOR = torch.device("cpu")


def describe(source: NetworkSource | None, spec: Input, classes: int) -> dict[str, object]:
    """Return what a plan says of the network, as JSON values."""
    if source is None:
        return {"kind": "small", **asdict(NetworkConfig.for_images(spec, classes))}
    named = type(source) if isinstance(source, nn.Module) else source
    return {"kind": "own", "name": getattr(named, "__qualname__", type(named).__qualname__)}


def fresh_network(
    network: Mapping[str, object], source: NetworkSource | None, data: Dataset, *, seed: int, spec: Input
) -> nn.Module:
    """Return a network that has learnt nothing yet, on the processor.

    Args:
        network: what the plan says of it.
        source: the user's own module, of which a copy is returned, or function; None for ours.
        data: the images to be learnt.
        seed: fixes the weights.
        spec: the images that it takes.

    Raises:
        ValueError: if the user's network does not map images to logits.
    """
    if source is None:
        values = {key: value for key, value in network.items() if key != "kind"}
        return build(NetworkConfig(**values | {"widths": tuple(values["widths"])}), data.images, seed=seed)  # type: ignore[arg-type]
    with random_state_of_its_own(_PROCESSOR):
        torch.manual_seed(seed)
        own = copy.deepcopy(source) if isinstance(source, nn.Module) else source(len(data.classes), spec)
    _check(own, data)
    return own


def _check(network: nn.Module, data: Dataset) -> None:
    """Check that two images give two rows of logits."""
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"network gave a {type(network).__name__}: give a torch.nn.Module, or a function that makes one"
        )
    images = as_tensor(data.images[:2])
    was_training = network.training
    with torch.no_grad():
        logits = network.eval()(images)
    network.train(was_training)
    shape = (len(images), len(data.classes))
    if not isinstance(logits, torch.Tensor) or logits.shape != shape or not logits.is_floating_point():
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(
            f"the network must map uint8 {tuple(images.shape)} to float logits {shape}, but returns {got}: see "
            "Pixels for networks that take float [n, channel, height, width]"
        )
