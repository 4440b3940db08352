"""What a demo found: speed, latency, the verdict, and whether all is as it must be."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from visionbus.cli.demo.gallery import Picture
from visionbus.cli.demo.subject import pixels_of
from visionbus.cli.demo.verdict import Row, Verdict, judge, latencies
from visionbus.cli.output import one_line
from visionbus.service.sources import FASHION_MNIST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from visionbus.cli.demo.subject import Offline
    from visionbus.cli.demo.system import Seen, System
    from visionbus.service.images import Requests
    from visionbus.vision import Input
    from visionbus.vision.onnx import OnnxModel

SLACK = 0.0005  # of accuracy: images between two classes, which another processor's rounding may turn
_PICTURES = 10


@dataclass(frozen=True, slots=True)
class Report:
    """A demo's outcome. Rates are images/s; `median` and `late` (the 99th percentile) are seconds from published to
    stored; `card_accuracy` is what the model's file says of these images, if it does. `raw_rate` is ONNX Runtime's
    alone, where the images are sent as pixels; `offline_rate` that of one process without a bus. `unreadable`: images
    that got an error answer, as they must. `left_out`: images that were not sent, and why.
    """

    verdict: Verdict
    rate: float
    raw_rate: float | None
    offline_rate: float
    median: float
    late: float
    answered_again: int
    card_accuracy: float | None
    unreadable: int
    left_out: tuple[str, ...]
    system: System
    rows: tuple[Row, ...]

    @property
    def complaint(self) -> str:
        """Say what is not as it must be; empty where all is."""
        if not self.verdict.holds:
            return "images were lost, double or wrong"
        if self.card_accuracy is None or self.verdict.accuracy is None:
            return ""
        off = abs(self.verdict.accuracy - self.card_accuracy)
        return f"the accuracy on the model's card is {self.card_accuracy:.4f}" if off > SLACK else ""

    @property
    def holds(self) -> bool:
        """Tell whether there is nothing to complain about."""
        return not self.complaint

    def facts(self) -> Iterator[str]:
        """Give the facts, one a line, but for the verdict."""
        processes = self.system.processes
        yield f"images/s {self.rate:.0f} from the first image published to the last row stored"
        if self.raw_rate is not None:
            yield f"images/s {self.raw_rate:.0f} of ONNX Runtime alone, {processes} processes of one thread each"
            yield f"ratio {self.rate / self.raw_rate:.2f}"
        else:
            yield f"images/s {self.offline_rate:.0f} of reading, decoding and classifying in one process, without a bus"
        yield f"seconds from published to stored p50 {self.median:.3f} p99 {self.late:.3f}, all sent at once"
        yield f"answers that came again {self.answered_again}"
        if self.unreadable:
            yield f"images that cannot be read, and have an error in their row {self.unreadable}"
        if self.left_out:
            yield f"images that were not sent {len(self.left_out)}, the first: {one_line(self.left_out[0])}"
        yield f"rows {look_command(str(self.system.store))}"

    def to_json(self) -> dict[str, object]:
        """Give all of it as JSON values."""
        return {
            **asdict(self.verdict),
            "images_per_second": self.rate,
            "raw_images_per_second": self.raw_rate,
            "ratio": self.rate / self.raw_rate if self.raw_rate is not None else None,
            "offline_images_per_second": self.offline_rate,
            "latency": {"p50": self.median, "p99": self.late},
            "answered_again": self.answered_again,
            "card_accuracy": self.card_accuracy,
            "unreadable": self.unreadable,
            "left_out": self.left_out,
            "processes": self.system.processes,
            "run": self.system.run,
            "bus": self.system.bus,
            "results": str(self.system.store),
            "holds": self.holds,
        }


def make_report(
    system: System, seen: Seen, rows: Sequence[Row], model: OnnxModel, offline: Offline, raw_rate: float | None
) -> Report:
    """Compare what was stored with what the model says here, offline, of the same images."""
    intact = {name: place for name, place in offline.places.items() if offline.labels[name] is not None}
    truth = {name: system.subject.truth[place] for name, place in intact.items()}
    took = max(row.stored for row in rows) - min(row.published for row in rows) if rows else 0.0
    median, late = latencies(rows) if rows else (0.0, 0.0)
    return Report(
        verdict=judge(seen.sent, rows, offline.labels, truth),
        rate=len(rows) / took if took else 0.0,
        raw_rate=raw_rate,
        offline_rate=offline.rate,
        median=median,
        late=late,
        answered_again=seen.answered_again,
        card_accuracy=_on_card(model) if system.subject.whole else None,
        unreadable=sum(label is None for label in offline.labels.values()),
        left_out=tuple(seen.left_out),
        system=system,
        rows=tuple(rows),
    )


def _on_card(model: OnnxModel) -> float | None:
    """Return what the model's file says of its accuracy on Fashion-MNIST's test images."""
    test = model.figures.get("test")
    return test.get("accuracy") if isinstance(test, dict) and model.figures.get("dataset") == FASHION_MNIST else None


def pictures(report: Report, offline: Offline, requests: Requests, spec: Input) -> list[Picture]:
    """Choose ten images, the first of each class as far as there are, with what was stored about them."""
    subject = report.system.subject
    rows = {offline.places[row.id]: row for row in report.rows if row.label is not None and row.id in offline.places}
    firsts: dict[str | None, int] = {}
    for place in sorted(rows):
        firsts.setdefault(subject.truth[place] or rows[place].label, place)
    chosen = sorted(firsts.values())[:_PICTURES]
    chosen += [place for place in sorted(rows) if place not in chosen][: _PICTURES - len(chosen)]
    return [
        Picture(
            unquote(rows[place].id.partition("/")[2]),
            pixels_of(subject.request(place, requests), spec),
            rows[place].label or "",
            rows[place].probability or 0.0,
            subject.truth[place],
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
