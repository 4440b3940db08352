"""Changes images at random in ways that keep their class, on whole batches at once."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from visionbus.vision import Input

AugmentName = Literal["auto", "none", "flip", "shift", "photo"]

_SMALL = 32  # pixels per side, up to which images are flipped only
_GREY = torch.tensor([0.299, 0.587, 0.114])  # the luma of ITU-R BT.601


@dataclass(frozen=True)
class Augment:
    """The random changes to each image each time it is shown.

    Attributes:
        flip: mirror it left to right, half of the time. Not for text, or where left and right are classes.
        shift: move it by up to this many pixels, vertically and horizontally; the edge is repeated.
        zoom: show a part of at least this share of its area, 0 to 1, at the size of the whole.
        turn: rotate it by up to this many degrees, either way.
        colour: change brightness, contrast and, of RGB, saturation, by up to this share, 0 to 1.

    Raises:
        ValueError: if a value is out of range.
    """

    flip: bool = True
    shift: int = 0
    zoom: float = 1.0
    turn: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.shift < 0:
            raise ValueError(f"shift must be a number of pixels, 0 or more, not {self.shift}")
        if not 0 < self.zoom <= 1:
            raise ValueError(f"zoom must be a share of the area, above 0 and at most 1, not {self.zoom}")
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn must be 0 to 180 degrees, not {self.turn}")
        if not 0 <= self.colour < 1:
            raise ValueError(f"colour must be a share, 0 to below 1, not {self.colour}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed images, uint8 [image, height, width, channel] like `images`, on the same device.

        The changes depend on `generator` alone, which is a generator of the CPU.
        """
        if self.flip:
            images = _flip(images, generator)
        if self.shift:
            images = _shift(images, self.shift, generator)
        if self.zoom < 1 or self.turn:
            images = _move(images, self.zoom, self.turn, generator)
        if self.colour:
            images = _colour(images, self.colour, generator)
        return images


def augment_for(name: AugmentName, spec: Input) -> Augment:
    """Return the changes that a name stands for, to images like these.

    "auto" is "flip" up to 32 pixels per side, and "photo" above.
    """
    side = min(spec.height, spec.width)
    if name == "auto":
        name = "flip" if side <= _SMALL else "photo"
    known: dict[str, Augment] = {
        "none": Augment(flip=False),
        "flip": Augment(),
        "shift": Augment(flip=False, shift=max(side // 14, 1)),
        "photo": Augment(zoom=0.5, turn=10, colour=0.2),
    }
    return known[name]


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


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


def _move(images: Tensor, zoom: float, turn: float, generator: torch.Generator) -> Tensor:
    """Show a random part of each image, rotated, by one affine map; what is outside is mirrored in."""
    n, height, width, _ = images.shape
    scale = _uniform(zoom, 1, (n,), generator).sqrt()
    angle = torch.deg2rad(_uniform(-turn, turn, (n,), generator))
    places = _uniform(-1, 1, (2, n), generator) * (1 - scale)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    ratio = width / height  # the map is between coordinates of -1 to 1 on both sides
    rows = (
        torch.stack([cosine, -sine / ratio, places[0]], dim=1),
        torch.stack([sine * ratio, cosine, places[1]], dim=1),
    )
    maps = torch.stack(rows, dim=1).to(images.device)
    grid = nn.functional.affine_grid(maps, [n, 1, height, width], align_corners=False)
    pixels = images.permute(0, 3, 1, 2).float()
    moved = nn.functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _colour(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    n, channels = len(images), images.shape[3]
    brightness, contrast, saturation = (
        _uniform(1 - share, 1 + share, (3, n, 1, 1, 1), generator).to(images.device).unbind()
    )
    pixels = images.float()
    if channels == 3:
        grey = (pixels @ _GREY.to(images.device))[..., None]
        pixels = grey + (pixels - grey) * saturation
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (mean + (pixels - mean) * contrast) * brightness
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
