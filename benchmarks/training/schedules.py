"""Chooses how long ours is trained for an accuracy: on validation, before the test part is opened."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from training import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from training.kept import Record

ROW = "schedules"
EPOCHS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
MARGIN = 0.003  # by which the mean on validation must be above what is wanted; a standard error of it is about as much
HARDER = 0.005  # by which the test part is harder than validation


class NoScheduleError(Exception):
    """No schedule was measured that is accurate enough."""


def name(epochs: float) -> str:
    """Return the contestant's name."""
    return f"visionbus, {epochs:g} epochs"


def measured(records: Iterable[Record]) -> dict[float, list[float]]:
    """Return the accuracies on validation that each schedule had, by its epochs."""
    found: dict[float, list[float]] = {}
    for record in kept.of(records, ROW):
        found.setdefault(record["epochs"], []).append(record["validation"])
    return found


def as_on_test(accuracy: float) -> float:
    """Return the accuracy on validation that is wanted to be as accurate as a peer on the test part."""
    return accuracy + HARDER


def least(schedules: Mapping[float, Sequence[float]], accuracy: float) -> float:
    """Return the fewest epochs whose mean accuracy on validation is above `accuracy` by the margin.

    Raises:
        NoScheduleError: if none is.
    """
    enough = [epochs for epochs, found in schedules.items() if statistics.mean(found) >= accuracy + MARGIN]
    if not enough:
        raise NoScheduleError(
            f"no schedule has {accuracy + MARGIN:.4f} on validation: first make bench-training ROW={ROW}, or add "
            "longer ones to EPOCHS"
        )
    return min(enough)
