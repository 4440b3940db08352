"""What images a model takes, as one value that is stored in its file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self, get_args

Mode = Literal["L", "RGB"]
Fit = Literal["stretch", "crop", "pad"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

MAX_SIDE = 4096  # pixels: no classifier takes more, and a file that asks for it is damaged


@dataclass(frozen=True)
class Input:
    """The shape of a model's images, and how images of other shapes are fitted to it.

    Attributes:
        height: in pixels, 1 to 4096.
        width: in pixels, 1 to 4096.
        mode: "L" for greyscale (one channel), "RGB" for colour (three).
        fit: "stretch" ignores the aspect ratio; "crop" keeps it and cuts off two sides evenly; "pad" keeps it and adds
            black to two sides evenly.
        filter: how the image is resampled, by Pillow's names.

    Raises:
        ValueError: if a value is out of range.
    """

    height: int
    width: int
    mode: Mode = "RGB"
    fit: Fit = "stretch"
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for side in ("height", "width"):
            pixels = getattr(self, side)
            if type(pixels) is not int or not 1 <= pixels <= MAX_SIDE:
                raise ValueError(f"{side} must be a whole number from 1 to {MAX_SIDE}, not {pixels!r}")
        for name, known in (("mode", get_args(Mode)), ("fit", get_args(Fit)), ("filter", get_args(Filter))):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")

    @property
    def channels(self) -> int:
        """The number of channels: 1 or 3."""
        return 1 if self.mode == "L" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: height, width, channels."""
        return (self.height, self.width, self.channels)

    def to_json(self) -> dict[str, int | str]:
        """Return the values by their names, as stored in a model's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return the Input whose `to_json` is `value`.

        Raises:
            ValueError: if there is none.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            raise ValueError(f"an input must have exactly the keys {', '.join(sorted(names))}, not {value!r}")
        return cls(**value)
