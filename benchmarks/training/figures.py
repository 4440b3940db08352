"""Turns measurements into the words and numbers of tables: means with their spread, and what they were measured on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.kept import Record


def mean(runs: Sequence[Record], key: str) -> float:
    return statistics.mean(run[key] for run in runs)


def spread(values: Sequence[float], digits: int = 1, factor: float = 1.0) -> str:
    """Write the mean and the standard deviation; of a single value, itself."""
    values = [factor * value for value in values]
    if not values:
        return "not measured"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def percent(runs: Sequence[Record], key: str = "accuracy") -> str:
    return spread([run[key] for run in runs if key in run], 2, 100)


def seconds(runs: Sequence[Record], key: str = "wall", digits: int = 1) -> str:
    return spread([run[key] for run in runs if key in run], digits)


def epochs(runs: Sequence[Record]) -> str:
    """Write how many epochs there were, the least and the most if these differ."""
    counts = sorted({run["epochs"] for run in runs})
    return " to ".join(f"{count:g}" for count in (counts[:1] + counts[1:][-1:]))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def circumstances(runs: Sequence[Record]) -> str:
    """Say on what was measured, when, how often, and with which versions, as far as they are known."""
    days = sorted({run["when"].partition(" ")[0] for run in runs})
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in run.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    facts = [
        *sorted({run["machine"] for run in runs}),
        f"seeds {', '.join(map(str, sorted({run['seed'] for run in runs})))}",
        *(f"{name} in {precision}" for name, precision in sorted(precisions(runs).items())),
        *(f"{package} {'/'.join(sorted(found))}" for package, found in sorted(versions.items())),
        f"commit {', '.join(sorted({run['commit'] for run in runs} - {''})) or 'unknown'}",
        " and ".join(days),
    ]
    return "; ".join(facts)


def precisions(runs: Sequence[Record]) -> dict[str, str]:
    """Return the precisions and the numbers of threads that each kind of contestant used."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if "precision" in run:
            kind = run["contestant"].partition(",")[0]
            found.setdefault(kind, set()).add(f"{run['precision']} with {run['threads']} threads")
    return {kind: " and ".join(sorted(values)) for kind, values in found.items()}
