"""Chooses and builds the networks of a training: ours, one with pretrained weights, or the user's own."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isfunction
from pathlib import Path

import torch
from torch import nn

from visionbus.training.networks import check, choose, fresh, from_json, to_json
from visionbus.training.networks.choice import AUTO, SCRATCH
from visionbus.training.seeds import random_state_of_its_own
from visionbus.vision import Dataset, Input
from visionbus.vision.datasets.choosing import SIDE, Chooser, Look, suitable_input

Module = nn.Module | Callable[[int, Input], nn.Module]

_PHOTO = 160  # pixels per side that photographs have for a backbone, at most
_PROCESSOR = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """Where the networks of a training come from.

    Attributes:
        own: the user's own network, of which copies are trained; or a function of the number of classes and the `Input`
            that makes one; None for one of ours.
        backbone: the name of a network of timm, "none" for ours from scratch, or "auto".
        weights: the file of the backbone's weights; None for those at hand, or from the hub.
    """

    own: Module | None = None
    backbone: str = AUTO
    weights: Path | None = None

    @property
    def name(self) -> str | None:
        """What to call the user's own network; None if there is none."""
        if self.own is None:
            return None
        named = type(self.own) if isinstance(self.own, nn.Module) else self.own
        return getattr(named, "__qualname__", type(named).__qualname__)

    def describe(self, spec: Input, classes: int) -> tuple[dict[str, object], str]:
        """Return what a plan says of the network for such images, as JSON values, and a note for the user.

        Raises:
            WeightsError: if the weights of the backbone cannot be had.
            ModuleNotFoundError: if timm is needed, and not installed.
            ValueError: if timm has no such network, or there are weights and no backbone.
        """
        if self.name is not None:
            return {"kind": "own", "own": self.name}, ""
        choice = choose(spec, classes, backbone=self.backbone, weights=self.weights)
        return to_json(choice.config), choice.note

    def fresh(self, network: Mapping[str, object], data: Dataset, *, seed: int, spec: Input) -> nn.Module:
        """Return a network that has learnt nothing of the data yet, on the processor.

        Args:
            network: what the plan says of it.
            data: the images to be learnt.
            seed: fixes the weights that are random.
            spec: the images that it takes.

        Raises:
            TypeError: if the user's network does not map images to logits.
            ValueError: if these are for another number of classes, or nothing in it can learn.
        """
        if self.own is None:
            return fresh(from_json(network), data.images, seed=seed)
        with random_state_of_its_own(_PROCESSOR):
            torch.manual_seed(seed)
            if isinstance(self.own, nn.Module):
                own = copy.deepcopy(self.own)
            else:
                own = _made(self.own, self.name, len(data.classes), spec)
        check(own, spec, len(data.classes))
        return own


def _made(function: Callable[[int, Input], nn.Module], name: str | None, classes: int, spec: Input) -> nn.Module:
    """Call the user's function."""
    try:
        return function(classes, spec)
    except TypeError as error:
        if isfunction(function) and error.__traceback__ and error.__traceback__.tb_next:
            raise  # from within it: it was called rightly
        raise TypeError(
            f"{name}(number of classes, Input) failed: {error}: give such a function, or a module, as in "
            f"network=Pixels({name}())"
        ) from error


def input_for(source: NetworkSource, image_size: int | None) -> Chooser:
    """Return what chooses the Input for image files: photographs are larger for a backbone than for training anew."""

    def chosen(look: Look) -> Input:
        if image_size is not None:
            return look.square(image_size)
        large = look.square(min(_PHOTO, look.side))
        wants_large = source.own is None and source.backbone != SCRATCH and look.side > SIDE
        if wants_large and source.describe(large, 2)[0]["kind"] == "backbone":
            return large
        return suitable_input(look)

    return chosen
