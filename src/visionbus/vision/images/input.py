"""What a model wants to be shown, as one value that travels in its file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self, get_args

Mode = Literal["L", "RGB"]
Fit = Literal["stretch", "crop", "pad"]
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

_MOST = 4096  # pixels a side: no classifier looks at more, and a file that asks for it is damaged


@dataclass(frozen=True)
class Input:
    """The shape of a model's images, and how others are brought to it.

    Attributes:
        height: in pixels, 1 to 4096.
        width: in pixels, 1 to 4096.
        mode: "L" for grey (one channel), "RGB" for colour (three).
        fit: "stretch" to the shape; "crop" what sticks out on two sides, evenly; "pad" with black on two sides, evenly.
        filter: how pixels are averaged when the size changes, by Pillow's names.

    Raises:
        ValueError: when a value is out of range.
    """

    height: int
    width: int
    mode: Mode = "RGB"
    fit: Fit = "stretch"
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for side in ("height", "width"):
            pixels = getattr(self, side)
            if type(pixels) is not int or not 1 <= pixels <= _MOST:
                raise ValueError(f"{side} must be a whole number from 1 to {_MOST}, not {pixels!r}")
        for name, known in (("mode", get_args(Mode)), ("fit", get_args(Fit)), ("filter", get_args(Filter))):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")

    @property
    def channels(self) -> int:
        """The length of the last axis: 1 or 3."""
        return 1 if self.mode == "L" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: height, width, channels."""
        return (self.height, self.width, self.channels)

    def to_json(self) -> dict[str, int | str]:
        """Give the values by their names, as they stand in a model's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Make an Input of what `to_json` gave.

        Raises:
            ValueError: when it is anything else.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            raise ValueError(f"an input has the keys {', '.join(sorted(names))}, and {value!r} has not")
        return cls(**value)
