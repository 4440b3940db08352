"""Ctrl-C as a wish to stop: the first one ends a training in good order, the second one at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


def _nothing() -> None:
    pass


class Stop:
    """Whether the user wants to stop. Within its context, the first SIGINT sets `requested`; later ones interrupt.

    In another thread than the main one, and where the program handles SIGINT itself, signals are left alone.
    """

    def __init__(self) -> None:
        """Begin with no such wish."""
        self.requested = False
        self._call: Callable[[], None] = _nothing
        self._installed = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.requested

    def __enter__(self) -> Self:
        """Begin to heed SIGINT."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._heed)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave SIGINT as it was."""
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block, call this, too, when the wish comes."""
        self._call = call
        try:
            yield
        finally:
            self._call = _nothing

    def _heed(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._call()
