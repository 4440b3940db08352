"""Shows the progress of training: a bar on a terminal, elsewhere one fact per line."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from visionbus.training.loop import Epoch


class TrainingProgress:
    """Reports progress on a console; a context manager, one for all fits of a training."""

    def __init__(self, console: Console | None) -> None:
        """Report on `console`, or nowhere if it is None."""
        self._console = console or Console(quiet=True)
        self._stage = ""
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
        self._bar.stop()

    def say(self, fact: str) -> None:
        """Print a line."""
        self._console.print(fact, highlight=False, markup=False, soft_wrap=True)

    def stage(self, name: str, steps: int) -> None:
        """Begin a fit of this many steps."""
        self._stage = name
        self._bar.reset(self._task, description=name, total=steps)
        self.say(f"{name}: {steps} steps")

    def step(self) -> None:
        """Count a step."""
        self._bar.advance(self._task)

    def epoch(self, epoch: Epoch) -> None:
        """Print the figures of an epoch."""
        self.say(
            f"{self._stage}: epoch {epoch.number} of {epoch.of}, loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}, "
            f"{epoch.images / epoch.seconds:.0f} images/s, {epoch.left:.0f} s left"
        )
