"""What a demo found: speed, latency, the verdict, and whether all is as it must be."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from visionbus.cli.demo.gallery import Picture
from visionbus.cli.demo.verdict import Row, Verdict, judge, latencies
from visionbus.vision import predict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from visionbus.cli.demo.system import Seen, System
    from visionbus.vision import Dataset
    from visionbus.vision.onnx import OnnxModel

SLACK = 0.0005  # of accuracy: images between two classes, which another processor's rounding may turn
WHOLE = 10_000  # images of the test part, of which the model's card speaks


@dataclass(frozen=True, slots=True)
class Report:
    """A demo's outcome. Rates are images/s; `median` and `late` (the 99th percentile) are seconds from published to
    stored; `card_accuracy` is what the model's file says of these images, if it does.
    """

    verdict: Verdict
    rate: float
    raw_rate: float
    median: float
    late: float
    answered_again: int
    card_accuracy: float | None
    system: System
    rows: tuple[Row, ...]

    @property
    def complaint(self) -> str:
        """Say what is not as it must be; empty where all is."""
        if not self.verdict.holds:
            return "images were lost, double or wrong"
        off = abs(self.verdict.accuracy - self.card_accuracy) if self.card_accuracy is not None else 0.0
        return f"the accuracy on the model's card is {self.card_accuracy:.4f}" if off > SLACK else ""

    @property
    def holds(self) -> bool:
        """Tell whether there is nothing to complain about."""
        return not self.complaint

    def facts(self) -> Iterator[str]:
        """Give the facts, one a line, but for the verdict."""
        processes = self.system.processes
        yield f"images/s {self.rate:.0f} from the first image published to the last row stored"
        yield f"images/s {self.raw_rate:.0f} of ONNX Runtime alone, {processes} processes of one thread each"
        yield f"ratio {self.rate / self.raw_rate:.2f}"
        yield f"seconds from published to stored p50 {self.median:.3f} p99 {self.late:.3f}, all sent at once"
        yield f"answers that came again {self.answered_again}"
        yield f"rows {look_command(str(self.system.store))}"

    def to_json(self) -> dict[str, object]:
        """Give all of it as JSON values."""
        return {
            **asdict(self.verdict),
            "images_per_second": self.rate,
            "raw_images_per_second": self.raw_rate,
            "ratio": self.rate / self.raw_rate,
            "latency": {"p50": self.median, "p99": self.late},
            "answered_again": self.answered_again,
            "card_accuracy": self.card_accuracy,
            "processes": self.system.processes,
            "run": self.system.run,
            "bus": self.system.bus,
            "results": str(self.system.store),
            "holds": self.holds,
        }


def make_report(
    system: System, seen: Seen, rows: Sequence[Row], dataset: Dataset, model: OnnxModel, raw_rate: float
) -> Report:
    """Compare what was stored with what the model says here, offline, of the same images."""
    offline = [one.label for one in predict(model, dataset.images)]
    index = {name: place_of(name) for name in {*seen.sent, *(row.id for row in rows)}}
    verdict = judge(
        seen.sent,
        rows,
        {name: offline[place] for name, place in index.items()},
        {name: dataset.classes[dataset.labels[place]] for name, place in index.items()},
    )
    took = max(row.stored for row in rows) - min(row.published for row in rows) if rows else 0.0
    median, late = latencies(rows) if rows else (0.0, 0.0)
    figures = model.figures.get("test")
    card = figures.get("accuracy") if isinstance(figures, dict) and len(dataset) == WHOLE else None
    rate = len(rows) / took if took else 0.0
    return Report(verdict, rate, raw_rate, median, late, seen.answered_again, card, system, tuple(rows))


def place_of(name: str) -> int:
    """Give the place of an image among those sent, with which `visionbus send` ends its ids."""
    return int(name.rpartition("/")[2])


def pictures(report: Report, dataset: Dataset) -> list[Picture]:
    """Choose ten images, the first of each class as far as there are, with what was stored about them."""
    rows = {place_of(row.id): row for row in report.rows if row.label is not None}
    _, firsts = np.unique(dataset.labels[sorted(rows)], return_index=True)
    chosen = [sorted(rows)[first] for first in firsts]
    chosen += [place for place in sorted(rows) if place not in chosen][: 10 - len(chosen)]
    return [
        Picture(
            str(place),
            dataset.images[place],
            rows[place].label or "",
            rows[place].probability or 0.0,
            dataset.classes[dataset.labels[place]],
        )
        for place in chosen
    ]


def look_command(path: str) -> str:
    """Give the command that shows what is in the database, on this machine."""
    query = "select id, label from results limit 10"
    if shutil.which("sqlite3"):
        return f'sqlite3 {shlex.quote(path)} "{query}"'
    code = f'import sqlite3; print(*sqlite3.connect("{path}").execute("{query}"), sep="\\n")'
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
