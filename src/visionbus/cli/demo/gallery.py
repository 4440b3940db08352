"""Small pictures of images with what was predicted: in half blocks on a terminal, a line each elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from visionbus.cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from rich.console import Console

_ACROSS = 5  # pictures side by side
_GAP = 2  # columns between two
_WIDE, _NARROW = 28, 14  # columns of a picture, at most


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One image, uint8 [height, width, channel], with its labels; `probability` is 0 to 1, `true` None if unknown."""

    name: str
    pixels: npt.NDArray[np.uint8]
    predicted: str
    probability: float
    true: str | None

    @property
    def right(self) -> bool | None:
        """Whether it was predicted what it is; None if that is not known."""
        return None if self.true is None else self.predicted == self.true


def can_draw(console: Console) -> bool:
    """Tell whether greys and half blocks will be seen."""
    colours = console.color_system in {"256", "truecolor"} and not console.no_color
    return console.is_terminal and colours and console.encoding.startswith("utf")


def show(pictures: Sequence[Picture], console: Console) -> None:
    """Print the pictures."""
    if not can_draw(console):
        for one in pictures:
            true = "" if one.true is None else f" true {one.true}"
            click.echo(one_line(f"image {one.name} predicted {one.predicted} {one.probability:.2f}{true}"))
        return
    truth = "; below, the true class" if any(one.true is not None for one in pictures) else ""
    console.print(f"some of the images: what the model says and how sure it is{truth}")
    width = pictures[0].pixels.shape[1]
    shrink = math.ceil(width / (_WIDE if console.width >= _ACROSS * (_WIDE + _GAP) else _NARROW))
    across = max(1, min(_ACROSS, console.width // (width // shrink + _GAP)))
    for start in range(0, len(pictures), across):
        for line in _row(pictures[start : start + across], shrink):
            console.print(line, soft_wrap=True)


def _row(pictures: Sequence[Picture], shrink: int) -> list[Text]:
    width = pictures[0].pixels.shape[1] // shrink
    drawn = [_draw(_shrunk(one.pixels, shrink)) for one in pictures]
    lines = [_joined(parts, width) for parts in zip(*drawn, strict=True)]
    return [
        *lines,
        _joined([_predicted(one) for one in pictures], width),
        _joined([_true(one) for one in pictures], width),
        Text(),
    ]


def _predicted(one: Picture) -> Text:
    colour = "" if one.right is None else "green" if one.right else "bold red"
    return Text(f"{one.probability:.0%} {one_line(one.predicted)}", colour)


def _true(one: Picture) -> Text:
    return Text("" if one.true is None else f"{'✓' if one.right else '✗'} {one_line(one.true)}", "dim")


def _draw(pixels: npt.NDArray[np.uint8]) -> list[Text]:
    """Draw two rows of pixels as one of text: the upper half of each character is one, the lower half the other."""
    lines = []
    colours = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).tolist()
    for upper, lower in zip(colours[::2], colours[1::2], strict=False):  # of an odd number, the last row is left out
        line = Text()
        for top, bottom in zip(upper, lower, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom)))
        lines.append(line)
    return lines


def _shrunk(pixels: npt.NDArray[np.uint8], by: int) -> npt.NDArray[np.uint8]:
    height, width, channels = pixels.shape
    blocks = pixels[: height // by * by, : width // by * by].reshape(height // by, by, width // by, by, channels)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.uint8)


def _joined(parts: Sequence[Text], width: int) -> Text:
    line = Text()
    for part in parts:
        part.truncate(width + _GAP - 1)
        part.pad_right(width + _GAP - part.cell_len)
        line.append_text(part)
    return line
