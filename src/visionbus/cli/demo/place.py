"""Where a demo keeps its files: `.demo/results.db`, or `.demo/results-2.db` while another demo runs there."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.locks import claim

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(".demo")


@dataclass(frozen=True, slots=True)
class Place:
    """Files of one demo: `results` stays, `folder` holds the bus and what the processes said."""

    results: Path
    folder: Path

    @property
    def bus(self) -> Path:
        """The file of the embedded bus."""
        return self.folder / "bus.db"

    def remove_bus(self) -> None:
        """Remove the bus's file, and those that belong to it."""
        for path in self.folder.glob("bus.db*"):
            path.unlink(missing_ok=True)


@contextmanager
def own_place() -> Iterator[Place]:
    """Take the first place that no running demo has, emptied of what an earlier one left."""
    for number in count(1):
        suffix = "" if number == 1 else f"-{number}"
        place = Place(FOLDER / f"results{suffix}.db", FOLDER / f"run{suffix}")
        place.folder.mkdir(parents=True, exist_ok=True)
        with (place.folder / "lock").open("w") as lock:
            if not claim(lock):
                continue
            place.remove_bus()
            for path in [*FOLDER.glob(f"{place.results.name}*"), *place.folder.glob("*.log")]:
                path.unlink(missing_ok=True)
            yield place
            return
