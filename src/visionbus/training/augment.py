"""Changes images at random in ways that keep their class, on whole batches at once."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """The random changes to each image each time it is shown.

    Attributes:
        flip: mirror it left to right, half of the time. Not for text, or where left and right are classes.
        shift: move it by up to this many pixels, vertically and horizontally; the edge is repeated.

    Raises:
        ValueError: if `shift` is negative.
    """

    flip: bool = True
    shift: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.shift < 0:
            raise ValueError(f"shift must be a number of pixels, 0 or more, not {self.shift}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed images, uint8 [image, height, width, channel] like `images`, on the same device.

        The changes depend on `generator` alone, which is a generator of the CPU.
        """
        if self.flip:
            images = _flip(images, generator)
        if self.shift:
            images = _shift(images, self.shift, generator)
        return images


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    coins = torch.randint(0, 2, (len(images), 1, 1, 1), generator=generator, dtype=torch.bool)
    return torch.where(coins.to(images.device), images.flip(2), images)


def _shift(images: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    n, height, width, _ = images.shape
    offsets = torch.randint(-limit, limit + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + offsets[0]).clamp(0, height - 1).to(images.device)
    columns = (torch.arange(width) + offsets[1]).clamp(0, width - 1).to(images.device)
    batch = torch.arange(n, device=images.device)
    return images[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
