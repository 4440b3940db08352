"""Where a fit is: in which phase and step, how many steps there will be, and how far the learning rate has come."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class Schedule:
    """The position in a fit; a value, so each step gives a new one.

    Attributes:
        limits: the number of steps in each phase.
        phase: the present phase, counted from 0; the number of phases when the fit is finished.
        step: the steps done in the present phase.
        shortened_at: the step at which the present phase was last shortened, 0 if it never was.
        done_then: the fraction of the phase that was done at that step.
    """

    limits: tuple[int, ...]
    phase: int = 0
    step: int = 0
    shortened_at: int = 0
    done_then: float = 0.0

    @classmethod
    def of(cls, limits: Sequence[int]) -> Self:
        """Return the beginning of a fit whose phases have this many steps, at least one in all."""
        return cls(tuple(limits), phase=next(phase for phase, limit in enumerate(limits) if limit > 0))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the schedule whose values by their names are `value`, as JSON gives them back."""
        return cls(**{**value, "limits": tuple(value["limits"])})

    @property
    def finished(self) -> bool:
        """Whether there is no further step."""
        return self.phase == len(self.limits)

    @property
    def left(self) -> int:
        """The number of steps that remain, in all phases."""
        return sum(self.limits[self.phase :]) - self.step

    @property
    def done(self) -> float:
        """The fraction of the present phase that is done, 0 to 1: what the learning rate depends on."""
        remaining = self.limits[self.phase] - self.shortened_at
        return self.done_then + (1 - self.done_then) * (self.step - self.shortened_at) / remaining

    def advanced(self) -> "Schedule":
        """Return the position after one more step."""
        if self.step + 1 < self.limits[self.phase]:
            return replace(self, step=self.step + 1)
        return _at_next_phase(self.limits, self.phase)

    def shortened(self, left: int) -> "Schedule":
        """Return the position with at most `left` further steps, fewer in each phase; the rate falls to 0 all the same.

        With `left` 0, the fit is finished. With more than remain, nothing changes.
        """
        if left >= self.left:
            return self
        factor = left / self.left
        here = math.floor((self.limits[self.phase] - self.step) * factor)
        later = [math.floor(limit * factor) for limit in self.limits[self.phase + 1 :]]
        here += left - here - sum(later)  # what rounding lost
        limits = (*self.limits[: self.phase], self.step + here, *later)
        if not here:
            return _at_next_phase(limits, self.phase)
        return replace(self, limits=limits, shortened_at=self.step, done_then=self.done)

    def ending_after(self, steps: int) -> "Schedule":
        """Return the position with so many further steps in this phase, above 0, and none in later ones."""
        later = (0,) * len(self.limits[self.phase + 1 :])
        limits = (*self.limits[: self.phase], self.step + steps, *later)
        return replace(self, limits=limits, shortened_at=self.step, done_then=self.done)

    def epoch(self, steps_per_epoch: int) -> tuple[int, int]:
        """Return the number of the present epoch, and how many there are, all phases together."""
        before = sum(math.ceil(limit / steps_per_epoch) for limit in self.limits[: self.phase])
        of = sum(math.ceil(limit / steps_per_epoch) for limit in self.limits)
        return before + self.step // steps_per_epoch + 1, of


def _at_next_phase(limits: tuple[int, ...], phase: int) -> Schedule:
    """Return the beginning of the next phase that has steps."""
    later = (after for after in range(phase + 1, len(limits)) if limits[after] > 0)
    return Schedule(limits, next(later, len(limits)))
