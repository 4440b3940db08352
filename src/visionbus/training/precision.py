"""Chooses the precision of the arithmetic in training."""

import copy
import time
from typing import Literal, get_args

import torch
from lightning_fabric import Fabric
from torch import nn

Precision = Literal["auto", "fp32", "bf16"]

_GAIN = 1.1  # how much faster bf16 must be to be chosen: it is less exact, and the trial is noisy


def start(precision: Precision, network: nn.Module, images: torch.Tensor) -> tuple[Fabric, Precision]:
    """Start Lightning Fabric, in one process.

    Args:
        precision: "fp32"; "bf16" (weights stay float32); "auto" takes bf16 where a short trial is faster.
        network: the network to be trained; the trial uses a copy.
        images: a batch, uint8 [image, height, width, channel].

    Returns:
        Fabric, and the precision that it computes in: "fp32" or "bf16".

    Raises:
        ValueError: if the precision is unknown.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(get_args(Precision))}")
    if precision == "auto":
        bf16, fp32 = (_trial(_fabric(name), network, images) for name in ("bf16", "fp32"))
        precision = "bf16" if bf16 * _GAIN < fp32 else "fp32"
    return _fabric(precision), precision


def _fabric(precision: str) -> Fabric:
    """Return a Fabric for one process on the best device there is."""
    return Fabric(accelerator="auto", devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true")


def _trial(fabric: Fabric, network: nn.Module, images: torch.Tensor) -> float:
    """Take a few steps on a copy; return the seconds of the fastest."""
    model = fabric.setup_module(copy.deepcopy(network))
    shown = fabric.to_device(images)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        loss = model(shown).square().mean()
        fabric.backward(loss)
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return min(seconds)
