"""Shows the progress of training: a bar on a terminal, elsewhere one fact per line."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from visionbus.training.history import Epoch
from visionbus.training.observer import Observer
from visionbus.vision.text import plain

_FEATURES_EVERY = 10.0  # seconds between two lines about features
_EPOCHS_EVERY = 1.0  # the same about epochs


class TrainingProgress(Observer):
    """Reports progress on a console; a context manager, one for all fits of a training."""

    def __init__(self, console: Console | None) -> None:
        """Report on `console`, or nowhere if it is None."""
        self._console = console or Console(quiet=True)
        self._stage, self._steps, self._done = "", 0, 0
        self._later = 0.0
        self._computing = False  # features, at present
        self._features_told, self._epoch_told = 0.0, -math.inf
        self._held_back = ""  # the last epoch, if it was not told
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._flush()
        self._bar.stop()

    def say(self, fact: str) -> None:
        """Print a line; where that fails, as on a full disk, nothing is printed any more, and the training goes on."""
        self._flush()
        self._print(fact)

    @contextmanager
    def decoding(self) -> Iterator[Callable[[int, int], None]]:
        """Give what is to be called with the number of files that are decoded, and how many there are."""
        self._bar.reset(self._task, description="decoding", total=None)

        def advance(done: int, total: int) -> None:
            self._bar.update(self._task, completed=done, total=total)

        yield advance

    def doing(self, what: str) -> None:
        """Begin something whose end cannot be foreseen."""
        self._bar.reset(self._task, description=what, total=None)

    def stage(self, name: str, steps: int, *, later: float, done: int = 0) -> None:
        """Begin a fit, or go on with one.

        Args:
            name: what it is.
            steps: the number of its steps.
            later: how many epochs of this fit take as long as all fits that follow.
            done: how many of them were done earlier.
        """
        self._stage, self._steps, self._done = name, steps, done
        self._later, self._epoch_told = later, -math.inf
        self._show_steps()
        self.say(f"{name}: {steps} steps" + (f", {done} of them done" if done else ""))

    def features(self, done: int, of: int) -> None:
        """Show of how many images the features are computed; where there is no bar, tell it now and then."""
        if not self._computing:
            self._computing, self._features_told = True, time.monotonic()
            self._bar.reset(self._task, description=f"{self._stage}: features", total=of)
        self._bar.update(self._task, completed=done, total=of)
        if not self._console.is_terminal and time.monotonic() - self._features_told > _FEATURES_EVERY:
            self._features_told = time.monotonic()
            self.say(f"{self._stage}: features of {done} of {of} images")

    def step(self) -> None:
        """Count a step."""
        if self._computing:
            self._show_steps()
        self._done += 1
        self._bar.advance(self._task)
        self._flush_in_time()

    def epoch(self, epoch: Epoch) -> None:
        """Print the figures of an epoch; where epochs take a moment each, of one a second, and of the last."""
        held_out = f", held out {epoch.validation_accuracy:.4f}" if epoch.validation_accuracy is not None else ""
        seconds = epoch.left(self._later)
        left = f", {seconds:.0f} s left" if seconds is not None else ""
        self._held_back = (
            f"{self._stage}: epoch {epoch.number} of {epoch.of}, loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}"
            f"{held_out}, {epoch.images / epoch.seconds:.0f} images/s{left}"
        )
        self._flush_in_time()

    def _print(self, fact: str) -> None:
        try:
            self._console.print(plain(fact), highlight=False, markup=False, soft_wrap=True)
        except OSError:
            self._console.quiet = True

    def _flush_in_time(self) -> None:
        """Print what is held back, unless an epoch was told a moment ago."""
        if self._held_back and time.monotonic() - self._epoch_told >= _EPOCHS_EVERY:
            self._epoch_told = time.monotonic()
            self._flush()

    def _flush(self) -> None:
        """Print what is held back."""
        if self._held_back:
            self._print(self._held_back)
            self._held_back = ""

    def _show_steps(self) -> None:
        self._computing = False
        self._bar.reset(self._task, description=self._stage, total=self._steps, completed=self._done)
