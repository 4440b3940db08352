"""Decides which images each step of a fit shows."""

import torch
from torch import Tensor

from visionbus.training.recipe import Recipe
from visionbus.training.seeds import derived


class Order:
    """In each epoch all images that are learnt, in an order of its own; the same in all processes of a fit.

    Attributes:
        part: the images that are learnt, int64 [n].
    """

    def __init__(self, images: int, recipe: Recipe, seed: int) -> None:
        """Learn all of so many images."""
        self.part = torch.arange(images)
        self._all = images
        self._recipe = recipe
        self._seed = seed
        self._known: tuple[tuple[int, int], tuple[Tensor, ...]] = ((-1, -1), ())

    @property
    def per_epoch(self) -> int:
        """The number of steps in an epoch."""
        return self._recipe.steps_per_epoch(len(self.part))

    def limit(self, part: Tensor) -> None:
        """Learn these alone from now on."""
        self.part = part
        self._known = ((-1, -1), ())

    def epoch(self, phase: int, number: int) -> tuple[Tensor, ...]:
        """Return the images of each step in an epoch of a phase, int64 [n] each."""
        key = (phase, number)
        if self._known[0] != key:
            generator = torch.Generator().manual_seed(derived(self._seed, "order", *key))
            order = self.part[torch.randperm(len(self.part), generator=generator)]
            self._known = (key, order.tensor_split(self.per_epoch))
        return self._known[1]

    def step(self, phase: int, step: int) -> Tensor:
        """Return the images of a step, counted within the phase, int64 [n]."""
        number, place = divmod(step, self.per_epoch)
        return self.epoch(phase, number)[place]

    def state(self) -> Tensor | None:
        """Return what a later fit needs to go on: the images that are learnt, unless these are all."""
        return None if len(self.part) == self._all else self.part
