"""Tries a few steps of training: which precision is faster, and how long a step takes."""

import copy
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from visionbus.training.fitting import Fitting
from visionbus.training.options import Precision
from visionbus.training.processes import fabric_for
from visionbus.training.recipe import Recipe, phases_of
from visionbus.training.seeds import random_state_of_its_own
from visionbus.vision import Dataset

_GAIN = 1.1  # how much faster bf16 must be to be chosen: it is less exact, and the trial is noisy
_CHOICE = 3, 1.0  # steps of a trial of which the fastest counts, and the seconds after which two of them are enough
_SPEED = 5, 10.0  # the same where the median counts, without the first, which is slow


def choose(precision: Precision, network: nn.Module, sample: Dataset, recipe: Recipe) -> Precision:
    """Return the precision to train in: "fp32" or "bf16" (the weights stay float32).

    Args:
        precision: "fp32", "bf16", or "auto", which takes bf16 where a short trial is faster by a tenth.
        network: the network to be trained; the trial uses copies.
        sample: at most as many images as a batch has.
        recipe: how it will be trained.
    """
    if precision != "auto":
        return precision
    bf16, fp32 = (min(_trial(name, network, sample, recipe, *_CHOICE)) for name in ("bf16", "fp32"))
    return "bf16" if bf16 * _GAIN < fp32 else "fp32"


def step_seconds(precision: Precision, network: nn.Module, sample: Dataset, recipe: Recipe) -> float:
    """Return how long a step takes on one device: the median of a few, on a copy.

    Where only the head learns in the end, it is three times what features and a step of the head take together, which
    is what `Plan.costs` reckons with.
    """
    seconds = _trial(precision, network, sample, recipe, *_SPEED)
    return 3 * seconds[0] if phases_of(network)[-1].features else float(np.median(seconds[1:]))


def _trial(
    precision: Precision, network: nn.Module, sample: Dataset, recipe: Recipe, steps: int, most: float
) -> list[float]:
    """Take a few steps on a copy, no more than two after `most` seconds; return the seconds of each."""
    fabric = fabric_for(precision)
    with random_state_of_its_own(fabric.device):
        enough = replace(recipe, epochs=float(steps * len(sample)))
        fitting = Fitting(copy.deepcopy(network), sample, enough, fabric=fabric, seed=0)
        fitting.go_to(replace(fitting.schedule, phase=len(fitting.schedule.limits) - 1))
        seconds: list[float] = []
        while len(seconds) < 2 or (len(seconds) < steps and sum(seconds) < most):
            began = time.perf_counter()
            fitting.step()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize(fabric.device)
            seconds.append(time.perf_counter() - began)
    return seconds
