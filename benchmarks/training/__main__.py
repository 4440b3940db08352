"""Measures one row of the table, as far as it is not measured yet, or renders the table: `make bench-training ROW=a`.

Each finished measurement is kept at once, so a row that is stopped, or has reached its limit, goes on where it was
when it is called again. Rows a and b need the row of the schedules first. ROW=table writes the page of the results.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training import data, kept, machine, peers, schedules
from training.contestants import Case, Contestant
from training.page import PAGE, rendered
from training.rows import ROWS, Row
from training.running import FailedError, OverdueError, run

if TYPE_CHECKING:
    from training.kept import Record

GRACE = 300.0  # seconds that a peer may take after its cap, for the epoch that it overran by, saving and testing


class LimitError(Exception):
    """The row's time is over."""


@dataclass(frozen=True)
class Session:
    """One call of the command: where results go, and until when it may measure."""

    results: Path
    ends: float
    options: argparse.Namespace
    folder: Path

    def measure(self, row: str, contestant: Contestant, seed: int) -> None:
        """Make one measurement, and keep it.

        Raises:
            LimitError: if there was no time left for it.
        """
        given = self.options
        left = self.ends - time.monotonic()
        if left <= 0:
            raise LimitError
        print(f"{row}: {contestant.name}, seed {seed} ...", end=" ", flush=True)
        with tempfile.TemporaryDirectory() as work:
            case = Case(seed, given.cap, given.quick, self.folder, Path(work), kept.read(self.results))
            environment = {"PYTHONPATH": "", **contestant.environment(case)}
            try:
                done = run(
                    contestant.command(case), case.folder, seconds=min(left, given.cap + GRACE), environment=environment
                )
            except OverdueError as error:
                if left <= given.cap + GRACE:
                    raise LimitError from error
                raise FailedError(f"{contestant.name} does not end at its cap: {error}") from error
            figures = contestant.figures(case, done.text)
        record: Record = {"row": row, "contestant": contestant.name, "seed": seed, "quick": given.quick}
        record |= {
            "when": time.strftime("%Y-%m-%d %H:%M"),
            "machine": machine.this_machine(),
            "commit": machine.commit(),
        }
        record |= {"cap": given.cap, "wall": done.wall, "cpu": done.cpu, "mib": done.mib, **figures}
        kept.append(self.results, record)
        accuracy = f", accuracy {figures['accuracy']:.4f}" if "accuracy" in figures else ""
        print(f"{done.wall:.1f} s, {done.cpu:.1f} s of processors{accuracy}", flush=True)


def measure_row(session: Session, name: str, row: Row) -> None:
    """Measure what a row lacks, group by group."""
    seeds = range(1 if row.once else session.options.seeds)
    for group in row.groups:
        contestants = {one.name: one for one in group(kept.read(session.results)) if wanted(one, session.options.only)}
        for seed, contestant in kept.missing(kept.read(session.results), name, contestants, seeds):
            session.measure(name, contestants[contestant], seed)


def wanted(contestant: Contestant, texts: list[str] | None) -> bool:
    return not texts or any(text in contestant.name for text in texts)


def check_machine(records: list[Record], name: str) -> None:
    """Refuse to mix what was measured on different machines."""
    others = {one["machine"] for one in kept.of(records, name) if "machine" in one} - {machine.this_machine()}
    if others:
        sys.exit(
            f"row {name} was measured on {', '.join(others)}, this is {machine.this_machine()}: begin anew by --again"
        )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-training", description=__doc__)
    parser.add_argument("row", choices=[*ROWS, "table"], help="what to measure; table renders the page")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of each contestant (default 3)")
    parser.add_argument("--limit", type=float, default=2700, metavar="SECONDS", help="of this call (default 2700)")
    parser.add_argument("--cap", type=float, default=1800, metavar="SECONDS", help="of a peer in row b (default 1800)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="contestants whose name has this text")
    parser.add_argument("--again", action="store_true", help="forget what was measured of this row")
    parser.add_argument("--quick", action="store_true", help="only see that all runs: tiny, and kept nowhere")
    parser.add_argument("--results", type=Path, default=kept.RESULTS, metavar="FILE", help="lines of JSON")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it runs ends, too
    given = parsed()
    if given.row == "table":
        PAGE.write_text(rendered(PAGE.read_text(), kept.read(given.results)))
        return print(PAGE.read_text())
    row = ROWS[given.row]
    with tempfile.TemporaryDirectory() as temporary:
        results = Path(temporary) / "quick.jsonl" if given.quick and given.results == kept.RESULTS else given.results
        if given.again and results.exists():
            kept.without(results, given.row)
        if given.quick and given.row != schedules.ROW:  # some schedule, so that rows which choose one run, too
            kept.append(
                results, {"row": schedules.ROW, "contestant": "any", "seed": 0, "epochs": 0.02, "validation": 1.1}
            )
        check_machine(kept.read(results), given.row)
        if row.peers:
            peers.provide()
        session = Session(results, time.monotonic() + given.limit, given, data.provide(row.data))
        try:
            measure_row(session, given.row, row)
        except LimitError:
            sys.exit(f"\nthe limit of {given.limit:g} s is reached: the same command goes on with what is missing")
        except (FailedError, schedules.NoScheduleError) as error:
            sys.exit(f"\n{error}")
        print(rendered(PAGE.read_text(), kept.read(results), given.row))
    return None


if __name__ == "__main__":
    main()
