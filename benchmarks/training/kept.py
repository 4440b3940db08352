"""Keeps measurements as lines of JSON, each written when it is finished, so that a row can be gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESULTS = Path(__file__).parent / "results.jsonl"

Record = dict[str, Any]  # of `row`, `contestant` and `seed`, of the machine, and of figures


def read(path: Path) -> list[Record]:
    """Return all measurements of a file, none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: Record) -> None:
    """Write one more, and see it on disk."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def without(path: Path, row: str) -> None:
    """Forget the measurements of a row."""
    rest = "".join(json.dumps(record) + "\n" for record in read(path) if record["row"] != row)
    new = path.with_suffix(".new")
    new.write_text(rest)
    new.replace(path)


def of(records: Iterable[Record], row: str, contestant: str | None = None) -> list[Record]:
    """Return the measurements of a row, or of one contestant in it, in the order of their seeds."""
    found = [one for one in records if one["row"] == row and contestant in (None, one["contestant"])]
    return sorted(found, key=lambda one: one["seed"])


def missing(
    records: Sequence[Record], row: str, contestants: Iterable[str], seeds: Iterable[int]
) -> list[tuple[int, str]]:
    """Return the measurements that a row lacks, each as seed and contestant: one seed of all, then the next."""
    there = {(one["seed"], one["contestant"]) for one in of(records, row)}
    names = list(contestants)
    return [(seed, name) for seed in seeds for name in names if (seed, name) not in there]
