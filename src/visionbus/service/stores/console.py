"""Prints answers, one per line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from visionbus.service.wire import Answer


class ConsoleStore:
    """Prints `id`, label and probability, or the error, separated by tabs. It does not know what it printed earlier."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    async def add(self, answers: Sequence[Answer]) -> int:
        self._stream.writelines(map(_line, answers))
        self._stream.flush()
        return len(answers)


def _line(answer: Answer) -> str:
    if answer.label is None:
        return f"{answer.id}\terror: {' '.join((answer.error or '').split())}\n"
    return f"{answer.id}\t{answer.label}\t{answer.probabilities[0][1]:.3f}\n"
