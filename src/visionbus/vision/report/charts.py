"""Works out where the lines, ticks and labels of a chart stand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from visionbus.vision.evaluation import BINS, Calibration
from visionbus.vision.report.history import Curve
from visionbus.vision.text import count, percent

WIDTH, HEIGHT = 460, 250  # of a chart, in the units of its SVG
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 30  # what the labels of the axes take

_NAMES = {
    ("decide", False): "trial fit, images it learns",
    ("decide", True): "trial fit, held-out images",
    ("final", False): "final fit, images it learns",
    ("final", True): "final fit, held-out images",
}


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place, in units of the SVG, and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: what it shows.
        style: its class in the style sheet.
        points: its points, as SVG writes them.
        end: its last point.
        value: its last value, as text.
    """

    name: str
    style: str
    points: str
    end: tuple[float, float]
    value: str


@dataclass(frozen=True)
class Chart:
    """A chart over epochs."""

    title: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    lines: tuple[Line, ...]


def epoch_chart(title: str, curves: Sequence[Curve], *, share: bool) -> Chart | None:
    """Lay out curves over epochs; None if there are none.

    Args:
        title: what the values are.
        curves: what to draw.
        share: whether the values are shares, shown as percentages.
    """
    if not curves:
        return None
    epochs = [epoch for curve in curves for epoch, _ in curve.points]
    values = [value for curve in curves for _, value in curve.points]
    low = min(values) if share else min(0.0, *values)
    marks = ticks(low, max(values), most=5)
    first, last = min(epochs), max(*epochs, min(epochs) + 1)

    def place(epoch: float, value: float) -> tuple[float, float]:
        return (
            round(LEFT + (epoch - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - (value - marks[0]) / (marks[-1] - marks[0]) * (HEIGHT - TOP - BOTTOM), 1),
        )

    steps = [mark for mark in ticks(first, last, most=8) if mark.is_integer() and first <= mark <= last]
    return Chart(
        title,
        tuple(Tick(place(mark, marks[0])[0], f"{mark:.0f}") for mark in steps),
        tuple(Tick(place(first, mark)[1], f"{100 * mark:g} %" if share else f"{mark:g}") for mark in marks),
        tuple(_line(curve, place, share=share) for curve in curves),
    )


def ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return at least two round numbers at equal steps that reach from `low` or below to `high` or above.

    The steps are 1, 2 or 5 times a power of ten, so that there are `most` steps or fewer between `low` and `high`.
    """
    span = max(high - low, 1e-6)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _line(curve: Curve, place: Callable[[float, float], tuple[float, float]], *, share: bool) -> Line:
    points = [place(epoch, value) for epoch, value in curve.points]
    value = curve.points[-1][1]
    return Line(
        _NAMES[curve.fit, curve.held_out],
        f"{curve.fit}{' held-out' if curve.held_out else ''}",
        " ".join(f"{across},{up}" for across, up in points),
        points[-1],
        percent(value) if share else f"{value:.3f}",
    )


@dataclass(frozen=True)
class Bar:
    """One bin of a reliability diagram, in units of its SVG, whose plot is a square of `SQUARE`.

    Attributes:
        left: where it begins.
        accuracy: how high it is.
        confidence: how high it would be if the probabilities were right.
        images: the height of its bar of the histogram below.
        said: the bin in words.
    """

    left: float
    accuracy: float
    confidence: float
    images: float
    said: str


SQUARE, STRIP = 240, 36  # the sides of a reliability diagram, and the height of the histogram below it
BAR = SQUARE / BINS


def bars(calibration: Calibration) -> list[Bar]:
    """Lay out a reliability diagram."""
    most = max(one.images for one in calibration.bins)
    return [
        Bar(
            round(min(int(one.confidence * BINS), BINS - 1) * BAR, 1),
            round(one.accuracy * SQUARE, 1),
            round(one.confidence * SQUARE, 1),
            round(max(one.images / most * STRIP, 1), 1),
            f"sure by {percent(one.confidence)}, right in {percent(one.accuracy)} of {count(one.images, 'image')}",
        )
        for one in calibration.bins
    ]
