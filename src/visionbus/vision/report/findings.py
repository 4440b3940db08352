"""Says in sentences what a reader of a report should know first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from visionbus.vision.datasets import TrainingData
from visionbus.vision.datasets.listing import Part
from visionbus.vision.evaluation import Evaluation
from visionbus.vision.report.history import curves
from visionbus.vision.report.measured import Measured
from visionbus.vision.report.mistakes import Confusion
from visionbus.vision.text import count, percent, plain, shortened

_FEW = 100  # images that are too few for a firm accuracy
_ROUGH = 10  # images of a class that are too few for its figures
_OFF = 0.05  # a calibration error above which probabilities mislead
_GAP = 0.1  # between the accuracies on learnt and on held-out images


@dataclass(frozen=True)
class Finding:
    """One sentence: `good` news, something to `look` at, or a `fact`."""

    kind: Literal["good", "look", "fact"]
    text: str


def findings(
    measured: Measured, confusions: list[Confusion], suspects: int, data: TrainingData, figures: Mapping[str, object]
) -> list[Finding]:
    """Return what to know first, the most important first; `figures` are those in the model's file."""
    found = measured.evaluation
    return [
        *_on_split(measured.part),
        *_on_time(figures),
        *_on_size(found),
        *_on_classes(found, confusions),
        *_on_learning(figures, guess=_guess(found)),
        *_on_calibration(found),
        *_on_data(suspects, data),
    ]


def _on_split(part: Part) -> Iterator[Finding]:
    if part == "train":
        yield Finding(
            "look",
            "The data has no split for measuring, so all of it was measured: a model that has learnt from these images "
            "looks better here than it is.",
        )


def _on_time(figures: Mapping[str, object]) -> Iterator[Finding]:
    if left_out := images_left_out(figures):
        yield Finding(
            "look",
            f"In the time it was given, the model learnt from {left_out[0]:,} of {left_out[1]:,} images. Give it more "
            "time, and it learns from all of them.",
        )
    if figures.get("stopped"):
        yield Finding("look", f"Its training was stopped before all of it was done: {plain(str(figures['stopped']))}.")


def images_left_out(figures: Mapping[str, object]) -> tuple[int, int] | None:
    """Return how many images a model has learnt from, and of how many, where there was no time for all."""
    train = figures.get("train")
    learnt, there = (train.get("images"), train.get("of")) if isinstance(train, Mapping) else (None, None)
    return (learnt, there) if isinstance(learnt, int) and isinstance(there, int) and learnt < there else None


def _guess(found: Evaluation) -> float:
    """Return the accuracy of always giving the same answer."""
    return max(figures.support for figures in found.per_class.values()) / found.images


def _on_size(found: Evaluation) -> Iterator[Finding]:
    support = {name: figures.support for name, figures in found.per_class.items()}
    guess = _guess(found)
    beaten = found.interval[0] > guess
    yield Finding(
        "good" if beaten else "look",
        f"Always giving the same answer would be right in at most {percent(guess)} of the images: "
        + ("the model is better than that." if beaten else "the model is not clearly better than that."),
    )
    if found.images < _FEW:
        yield Finding("look", f"Only {count(found.images, 'image')} were measured, so all figures here are rough.")
    elif rough := sum(0 < number < _ROUGH for number in support.values()):
        have = "1 class has" if rough == 1 else f"{rough:,} classes have"
        yield Finding("look", f"{have} fewer than {_ROUGH} images here: the figures of such a class are rough.")
    if absent := sum(not number for number in support.values()):
        have = "1 class has" if absent == 1 else f"{absent:,} classes have"
        yield Finding("look", f"{have} no image here, so nothing is known of how well it is found.")


def _on_classes(found: Evaluation, confusions: list[Confusion]) -> Iterator[Finding]:
    names = list(found.per_class)
    known = [name for name, figures in found.per_class.items() if figures.support]
    if not confusions:
        yield Finding("good", "No image was misclassified.")
        return
    if len(known) > 1:
        worst = min(known, key=lambda name: found.per_class[name].recall)
        yield Finding(
            "fact", f"The hardest class is {_quoted(worst)}: {percent(found.per_class[worst].recall)} of it is found."
        )
    first = confusions[0]
    yield Finding(
        "fact",
        f"The commonest mistake is to take {_quoted(names[first.label])} for {_quoted(names[first.predicted])}: "
        f"{count(first.images, 'image')}, {percent(first.share)} of the class.",
    )


def _on_learning(figures: Mapping[str, object], *, guess: float) -> Iterator[Finding]:
    last = {(curve.fit, curve.held_out): curve.points[-1][1] for curve in curves(figures, "accuracy", undone=False)}
    learnt, held_out = last.get(("decide", False)), last.get(("decide", True))
    if held_out is not None and held_out <= guess:
        yield Finding("look", "It has learnt too little to tell: give it more epochs, or more time.")
    elif learnt is not None and held_out is not None and learnt - held_out > _GAP:
        cure = "" if images_left_out(figures) else " More images would help most."
        yield Finding(
            "look",
            f"In training it was right in {percent(learnt)} of the images it learnt, but in {percent(held_out)} of "
            f"those held out: it knows some by heart.{cure}",
        )


def _on_calibration(found: Evaluation) -> Iterator[Finding]:
    error, bins = found.calibration.error, found.calibration.bins
    off = f"on average they are off by {100 * error:.1f} points"
    sure = sum(part.images * part.confidence for part in bins) / found.images
    both = f"it is {percent(sure)} sure on average, and right in {percent(found.accuracy)} of these images"
    if error <= _OFF:
        yield Finding("good", f"Its probabilities mean what they say: {off}.")
    elif abs(sure - found.accuracy) < error / 2:
        yield Finding("look", f"Its probabilities mislead on these images, some too high and some too low: {off}.")
    elif sure > found.accuracy:
        yield Finding("look", f"Its probabilities promise too much: {both}.")
    else:
        yield Finding("fact", f"Its probabilities are cautious: {both}.")


def _on_data(suspects: int, data: TrainingData) -> Iterator[Finding]:
    if suspects:
        yield Finding("look", f"{count(suspects, 'label')} may be wrong: see the suspect labels below.")
    if data.skipped:
        yield Finding("look", f"{count(len(data.skipped), 'file')} could not be used: see what was skipped.")
    if data.leaks:
        yield Finding("look", f"{count(len(data.leaks), 'image')} stood in two splits or classes: see the leaks.")


def _quoted(name: str) -> str:
    return f"“{shortened(plain(name))}”"
