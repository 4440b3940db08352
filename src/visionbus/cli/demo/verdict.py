"""Checks what a demo has stored: row by row against what was sent, and against the same model without a bus."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_OF_RUN = "FROM results WHERE id >= ? AND id < ?"


@dataclass(frozen=True, slots=True)
class Row:
    """What the database holds for one image; times in seconds since the epoch."""

    id: str
    label: str | None
    probability: float | None
    published: float
    stored: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Did every image get its one right answer?

    `sent`: distinct ids that the client's sends confirmed. `stored`: those that have a row. `lost`: those that have
    none. `duplicates`: rows beyond the first of an id. `wrong`: rows whose label is not the one that the same model
    gives offline. `accuracy`: the share whose label is the true one, of what was sent, can be read and has a known
    class; None where nothing has.
    """

    sent: int
    stored: int
    lost: int
    duplicates: int
    wrong: int
    accuracy: float | None

    def __str__(self) -> str:
        return " ".join(
            f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in asdict(self).items()
            if value is not None
        )

    @property
    def holds(self) -> bool:
        """Tell whether nothing is amiss."""
        return self.sent == self.stored > 0 and not (self.lost or self.duplicates or self.wrong)


def judge(
    sent: Iterable[str], rows: Sequence[Row], offline: Mapping[str, str | None], truth: Mapping[str, str | None]
) -> Verdict:
    """Compare the rows with what was sent; `offline` and `truth` give labels by id where there are any."""
    ids = set(sent)
    found = [row for row in rows if row.id in ids]
    stored = {row.id for row in found}
    known = {name for name in ids if truth.get(name)}
    right = {row.id for row in found if row.id in known and row.label == truth[row.id]}
    return Verdict(
        sent=len(ids),
        stored=len(stored),
        lost=len(ids - stored),
        duplicates=len(found) - len(stored),
        wrong=sum(row.label != offline.get(row.id) for row in found),
        accuracy=len(right) / len(known) if known else None,
    )


def count_rows(path: Path, run: str) -> int:
    """Count a run's rows; 0 while there is no table."""
    count: int
    try:
        ((count,),) = _query(path, f"SELECT count(*) {_OF_RUN}", run)
    except sqlite3.OperationalError:
        return 0
    return count


def read_rows(path: Path, run: str) -> list[Row]:
    """Read a run's rows, and leave the database as one file: the last who closes it takes its log in."""
    columns = "id, label, probability, published, stored"
    return [Row(*row) for row in _query(path, f"SELECT {columns} {_OF_RUN}", run, mode="rw")]


def latencies(rows: Sequence[Row]) -> tuple[float, float]:
    """Give the median and the 99th percentile of the seconds from published to stored."""
    median, late = np.percentile([row.stored - row.published for row in rows], [50, 99])
    return float(median), float(late)


def _query(path: Path, query: str, run: str, *, mode: str = "ro") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True)) as connection:
        return connection.execute(query, (f"{run}/", f"{run}0")).fetchall()  # "0" follows "/"
