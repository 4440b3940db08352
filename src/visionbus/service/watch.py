"""What a worker process and its supervisor tell each other."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from visionbus.service.batching import MAX_BATCH
from visionbus.service.suspects import MAX_CASES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from visionbus.service.record import Record

_LONGEST_NAME = 40
_PER_NAME = _LONGEST_NAME + 4  # in JSON, with quotes, comma and space
IN_PROCESS_BYTES = 64 + MAX_BATCH * _PER_NAME
VERDICTS_BYTES = 64 + MAX_CASES * _PER_NAME

POISON = "killed the worker that took it: at two deaths among others, then three times alone"


def short(name: str) -> str:
    """Return a request's name where it is short, as brokers' names are, or else its hash."""
    return (
        name
        if len(name) <= _LONGEST_NAME and name.isascii()
        else sha256(name.encode("utf-8", "replace")).hexdigest()[:_LONGEST_NAME]
    )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Requests, by their `short` names, that are to be taken alone, and those that are to be rejected."""

    suspects: frozenset[str] = frozenset()
    poison: frozenset[str] = frozenset()

    def write(self, record: Record) -> None:
        """Publish them to the workers."""
        record.write(json.dumps([sorted(self.suspects), sorted(self.poison)]).encode())

    @classmethod
    def read(cls, record: Record) -> Verdicts | None:
        """Return what the record holds; None while they are being written."""
        text = record.read()
        return None if text is None else cls(*map(frozenset, json.loads(text or b"[[],[]]")))


class Watch(Protocol):
    """How a worker is watched; deliveries are named by their ids."""

    def verdicts(self) -> Verdicts:
        """Return what is to be treated with care."""

    def begin(self, deliveries: Sequence[str], *, alone: bool) -> None:
        """Note what is in process from now on; called in the thread that does it."""

    def end(self) -> None:
        """Note that nothing is in process."""

    def settled(self, deliveries: Collection[str]) -> None:
        """Note which of them were answered or rejected."""

    def ready(self) -> None:
        """Note that the model is warm and requests are being received."""


class Unwatched:
    """The watch of a worker without a supervisor: nothing is suspected, nothing noted."""

    def verdicts(self) -> Verdicts:
        return Verdicts()

    def begin(self, deliveries: Sequence[str], *, alone: bool) -> None:
        pass

    def end(self) -> None:
        pass

    def settled(self, deliveries: Collection[str]) -> None:
        pass

    def ready(self) -> None:
        pass


class Supervised:
    """The watch of a worker process: two records shared with its supervisor, and a pipe to it."""

    def __init__(self, in_process: Record, verdicts: Record, pipe: int) -> None:
        self._in_process = in_process
        self._verdicts = verdicts
        self._pipe = pipe
        self._known = Verdicts()
        self._seen = 0

    def verdicts(self) -> Verdicts:
        written = self._verdicts.written
        if written != self._seen and (fresh := Verdicts.read(self._verdicts)) is not None:
            self._known = fresh
            self._seen = written
        return self._known

    def begin(self, deliveries: Sequence[str], *, alone: bool) -> None:
        self._in_process.write(json.dumps([alone, [short(name) for name in deliveries]]).encode())

    def end(self) -> None:
        self._in_process.write(b"")

    def settled(self, deliveries: Collection[str]) -> None:
        known = self._known
        for name in map(short, deliveries):
            if name in known.suspects or name in known.poison:
                self.tell("settled", name)

    def ready(self) -> None:
        self.tell("ready", "")

    def tell(self, event: str, what: str) -> None:
        """Send the supervisor a line: ready, settled NAME, or error TEXT."""
        line = f"{event} {' '.join(what.split())}"
        os.write(self._pipe, line.encode(errors="replace")[:4000] + b"\n")  # whole: a pipe takes 4,096 bytes at once
