"""Small pictures of images with what was predicted: in half blocks on a terminal, a line each elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from rich.console import Console

_ACROSS = 5  # pictures side by side
_GAP = 2  # columns between two


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One image, uint8 [28, 28, 1], with its labels; `probability` is 0 to 1."""

    name: str
    pixels: npt.NDArray[np.uint8]
    predicted: str
    probability: float
    true: str

    @property
    def right(self) -> bool:
        """Whether it was predicted what it is."""
        return self.predicted == self.true


def can_draw(console: Console) -> bool:
    """Tell whether greys and half blocks will be seen."""
    colours = console.color_system in {"256", "truecolor"} and not console.no_color
    return console.is_terminal and colours and console.encoding.startswith("utf")


def show(pictures: Sequence[Picture], console: Console) -> None:
    """Print the pictures."""
    if not can_draw(console):
        for one in pictures:
            click.echo(f"image {one.name} predicted {one.predicted} {one.probability:.2f} true {one.true}")
        return
    console.print("some of the images: what the model says and how sure it is; below, the true class")
    side = pictures[0].pixels.shape[0]
    shrink = 1 if console.width >= _ACROSS * (side + _GAP) else 2
    across = max(1, min(_ACROSS, console.width // (side // shrink + _GAP)))
    for start in range(0, len(pictures), across):
        for line in _row(pictures[start : start + across], shrink):
            console.print(line, soft_wrap=True)


def _row(pictures: Sequence[Picture], shrink: int) -> list[Text]:
    width = pictures[0].pixels.shape[1] // shrink
    drawn = [_draw(_shrunk(one.pixels[..., 0], shrink)) for one in pictures]
    lines = [_joined(parts, width) for parts in zip(*drawn, strict=True)]
    return [
        *lines,
        _joined([_predicted(one) for one in pictures], width),
        _joined([Text(f"{'✓' if one.right else '✗'} {one.true}", "dim") for one in pictures], width),
        Text(),
    ]


def _predicted(one: Picture) -> Text:
    return Text(f"{one.probability:.0%} {one.predicted}", "green" if one.right else "bold red")


def _draw(grey: npt.NDArray[np.uint8]) -> list[Text]:
    """Draw two rows of pixels as one of text: the upper half of each character is one, the lower half the other."""
    lines = []
    for upper, lower in zip(grey[::2].tolist(), grey[1::2].tolist(), strict=True):
        line = Text()
        for top, bottom in zip(upper, lower, strict=True):
            line.append("▀", f"rgb({top},{top},{top}) on rgb({bottom},{bottom},{bottom})")
        lines.append(line)
    return lines


def _shrunk(grey: npt.NDArray[np.uint8], by: int) -> npt.NDArray[np.uint8]:
    height, width = grey.shape
    blocks = grey[: height // by * by, : width // by * by].reshape(height // by, by, width // by, by)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.uint8)


def _joined(parts: Sequence[Text], width: int) -> Text:
    line = Text()
    for part in parts:
        part.truncate(width + _GAP - 1)
        part.pad_right(width + _GAP - part.cell_len)
        line.append_text(part)
    return line
