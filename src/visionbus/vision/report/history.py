"""Reads the course of a training out of a model file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs of one fit.

    Attributes:
        fit: "decide", which held images out, or "final", which learnt from all.
        held_out: whether it was measured on the images held out, or on those that were learnt.
        points: each epoch and the value in it.
    """

    fit: str
    held_out: bool
    points: tuple[tuple[float, float], ...]


def curves(figures: Mapping[str, object], quantity: str, *, undone: bool = True) -> list[Curve]:
    """Return the curves of "loss" or "accuracy" in a model's figures; entries that make no sense are left out.

    Without `undone`, so are epochs of which nothing is in the model, as they did harm.
    """
    history = figures.get("history")
    entries = [entry for entry in history if isinstance(entry, Mapping)] if isinstance(history, list) else []
    entries = [entry for entry in entries if undone or not entry.get("undone")]
    found = []
    for fit in ("decide", "final"):
        for key, held_out in ((quantity, False), (f"validation_{quantity}", True)):
            points = [_point(entry, key) for entry in entries if entry.get("fit") == fit]
            if known := tuple(sorted({point for point in points if point})):
                found.append(Curve(fit, held_out, known))
    return found


def _point(entry: Mapping[str, object], key: str) -> tuple[float, float] | None:
    epoch, value = _number(entry.get("epoch")), _number(entry.get(key))
    return (epoch, value) if epoch is not None and value is not None else None


def _number(value: object) -> float | None:
    """Return a finite number, None for anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
