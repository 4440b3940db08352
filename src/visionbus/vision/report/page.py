"""Writes the report about a model: one HTML file, with its style, charts and pictures inside."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from visionbus.vision import card
from visionbus.vision.datasets import TrainingData
from visionbus.vision.evaluation import measure
from visionbus.vision.files import replacing
from visionbus.vision.model import softmax
from visionbus.vision.onnx import OnnxModel
from visionbus.vision.processor import processor
from visionbus.vision.report import charts, history
from visionbus.vision.report.classes import class_rows, sheets
from visionbus.vision.report.findings import findings, images_left_out
from visionbus.vision.report.gallery import LISTED, Gallery
from visionbus.vision.report.measured import Measured
from visionbus.vision.report.mistakes import worst_confusions
from visionbus.vision.report.speed import measure_speed
from visionbus.vision.report.thumbnails import Thumbnails
from visionbus.vision.report.trust import sure_answers
from visionbus.vision.text import count, percent, plain, shortened, size

_CONFUSIONS = 20
_MATRIX = 30  # classes up to which the confusion matrix is drawn


def write_report(path: Path, model: OnnxModel, data: TrainingData, measured: Measured, *, command: str) -> None:
    """Write the report about `model` to `path`, atomically: one HTML file that needs nothing else.

    It has the model's figures on `measured` with their uncertainty, its mistakes, labels that may be wrong, its
    calibration, its training as far as the file tells of it, its speed, what is in `data`, and the model card. All
    names in it are escaped, and it forbids scripts and the network. It takes about two seconds for 10,000 images.

    Args:
        path: where to write; a file that is there is replaced.
        model: what the report is about.
        data: what was opened: shown as it is.
        measured: images that the model has not learnt, with its logits; `Measured.by(model, data)`.
        command: what makes this report again, as typed.

    Raises:
        OSError: if the file cannot be written.
    """
    page = _environment().get_template("page.html.jinja").render(_content(model, data, measured, command))
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


@cache
def _environment() -> Environment:
    """Return Jinja with everything escaped, and made visible, on its way into the page."""
    environment = Environment(
        loader=PackageLoader("visionbus.vision.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= {"percent": percent, "short": lambda text: shortened(plain(text)), "size": size}
    environment.globals |= {"count": count, "charts": charts}
    return environment


def _content(model: OnnxModel, data: TrainingData, measured: Measured, command: str) -> dict[str, object]:
    """Collect all that the page shows."""
    thumbnails = Thumbnails()
    return {
        "model": model,
        "data": data,
        "measured": measured,
        "command": command,
        "differs": _differs(model),
        "listed": LISTED,
        "written": datetime.now(UTC),
        "version": version("visionbus"),
        "processor": processor(),
        "speed": measure_speed(model, measured.dataset.images),
        **_results(model, data, measured, thumbnails),
        **_training(model.figures),
        "sheets": sheets(data, thumbnails),
        "uses": card.uses(model),
        "figures": card.listed_figures(model),
        "limits": card.limits(model),
    }


def _differs(model: OnnxModel) -> str:
    """Say how the model differs from the one that its command makes; empty if it does not."""
    if model.figures.get("stopped"):
        return "This training was stopped before all of it was done; the command does all of it."
    if left_out := images_left_out(model.figures):
        return (
            f"This model learnt from {left_out[0]:,} of {left_out[1]:,} images, for want of time; the command takes "
            "the time that all of them need."
        )
    if model.provenance.get("time_budget"):
        return "This model had to be done in time, and may lack epochs or steps that the command takes."
    return ""


def _results(model: OnnxModel, data: TrainingData, measured: Measured, thumbnails: Thumbnails) -> dict[str, object]:
    """Collect how well the model did."""
    labels, probabilities = measured.dataset.labels, softmax(measured.logits)
    found = measured.evaluation
    gallery = Gallery(measured, probabilities, thumbnails)
    confusions = worst_confusions(found.confusion, _CONFUSIONS)
    temperature = card.temperature(model.figures)
    scaled = measured.logits * np.float32(temperature) if temperature else None
    return {
        "found": found,
        "findings": findings(measured, confusions, len(gallery.suspects), data, model.figures),
        "rows": class_rows(found),
        "matrix": found.confusion if len(model.classes) <= _MATRIX else None,
        "confusions": [(one, gallery.example(one)) for one in confusions],
        "gallery": gallery,
        "temperature": temperature,
        "before": measure(scaled, labels, model.classes).calibration if scaled is not None else None,
        "sure": sure_answers(probabilities, labels),
    }


def _training(figures: Mapping[str, object]) -> dict[str, object]:
    """Collect how the model was trained."""
    drawn = (
        charts.epoch_chart("Loss", history.curves(figures, "loss"), share=False),
        charts.epoch_chart("Accuracy", history.curves(figures, "accuracy"), share=True),
    )
    return {"curves": [chart for chart in drawn if chart]}
