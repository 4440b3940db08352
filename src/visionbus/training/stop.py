"""Ctrl-C or SIGTERM as a wish to stop: the first one ends a training in good order, the second one at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

_DEFAULTS: dict[signal.Signals, Callable[[int, FrameType | None], object] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


def _nothing() -> None:
    pass


class Stop:
    """Whether somebody wants to stop. Within its context, the first signal sets `requested`; later ones interrupt.

    The signals are SIGINT, as of Ctrl-C, and SIGTERM, as of Kubernetes, Slurm and `docker stop`.
    In another thread than the main one, and where the program handles a signal itself, signals are left alone.
    """

    def __init__(self) -> None:
        """Begin with no such wish."""
        self.requested = False
        self._call: Callable[[], None] = _nothing
        self._heeded: list[signal.Signals] = []

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.requested

    def __enter__(self) -> Self:
        """Begin to heed the signals."""
        if threading.current_thread() is threading.main_thread():
            self._heeded = [number for number, default in _DEFAULTS.items() if signal.getsignal(number) is default]
        for number in self._heeded:
            signal.signal(number, self._heed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the signals as they were."""
        for number in self._heeded:
            signal.signal(number, _DEFAULTS[number])
        self._heeded = []

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block, call this, too, when the wish comes, or at once if it has come."""
        self._call = call
        try:
            if self.requested:  # it came before
                call()
            yield
        finally:
            self._call = _nothing

    def _heed(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._call()
