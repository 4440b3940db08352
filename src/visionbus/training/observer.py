"""Observer: who follows the progress of a fit."""

from visionbus.training.history import Epoch


class Observer:
    """Hears of the progress of a fit; this one passes over all of it."""

    def features(self, done: int, of: int) -> None:
        """Called while features are computed: of how many images they are, and of how many they will be."""

    def step(self) -> None:
        """Called after each step."""

    def epoch(self, epoch: Epoch) -> None:
        """Called after each epoch."""

    def say(self, fact: str) -> None:
        """Called with what a user should know."""
