"""Puts the tables into the page of the results, each between its marks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from training import kept
from training.figures import circumstances
from training.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.kept import Record

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks-training.md"
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def section(records: Sequence[Record], row: str) -> str:
    """Return a row's table, and on what it was measured."""
    runs = kept.of(records, row)
    if not runs:
        return "Not measured yet.\n"
    return f"{TABLES[row](records)}\n\n{circumstances(runs)}.\n"


def rendered(page: str, records: Sequence[Record], row: str | None = None) -> str:
    """Return the page with the present tables in it, or the table of one row alone."""
    if row is not None:
        return section(records, row)
    return MARKED.sub(lambda found: f"{found[1]}{section(records, found[2])}{found[3]}", page)
