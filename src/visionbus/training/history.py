"""The course of a training: the figures of each epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Literal, Self

FitName = Literal["decide", "final"]


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch.

    Attributes:
        number: counted from 1 in each fit.
        of: the number of epochs in the fit; both count the phases together.
        images: how many were shown.
        loss: the mean over the images.
        accuracy: on the augmented images, while the network was learning, 0 to 1.
        seconds: how long it took, measuring aside.
        fit: "decide", with images held out, or "final".
        seed: of the fit.
        validation_loss: the mean over the images held out, before calibration; None if none are.
        validation_accuracy: on the images held out, 0 to 1; None if none are.
        features: whether only the head learnt, from features computed before: no measure of later epochs' time.
    """

    number: int
    of: int
    images: int
    loss: float
    accuracy: float
    seconds: float
    fit: FitName = "final"
    seed: int = 0
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    features: bool = False

    def left(self, later: float = 0.0) -> float | None:
        """Return the seconds that the remaining epochs of the fit, and so many `later` ones, will take at this speed.

        None if the speed is not known yet, as that of the first phase says nothing about it.
        """
        return None if self.features else self.seconds * (self.of - self.number + later)

    def to_json(self) -> dict[str, object]:
        """Return the values by their names."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Return the epoch whose `to_json` is `value`."""
        return cls(**value)  # type: ignore[arg-type]


def compact(history: Sequence[Epoch], seed: int, *, undone: bool) -> list[dict[str, object]]:
    """Return the course of the fits with this seed for a model's figures, rounded to four decimals.

    The seconds are left out: the same training gives the same file. `undone`: whether the fine-tuning was.
    """
    return [
        _entry(epoch) | ({"undone": True} if undone and epoch.fit == "decide" and not epoch.features else {})
        for epoch in history
        if epoch.seed == seed
    ]


def spoilt(history: Sequence[Epoch], seed: int) -> bool:
    """Tell whether the fine-tuning of a backbone did harm, as the images held out from the fit that decides say."""
    deciding = [epoch for epoch in history if (epoch.fit, epoch.seed) == ("decide", seed)]
    before = list(takewhile(lambda epoch: epoch.features, deciding))
    return bool(before) and did_harm(before[-1], deciding[-1])


def did_harm(before: Epoch, after: Epoch) -> bool:
    """Tell whether a network is worse on the images held out than it was before its fine-tuning.

    It is if the loss is larger, too: accuracy alone differs by chance where few images are held out.
    """
    (loss, accuracy), (tuned_loss, tuned_accuracy) = _held_out(before), _held_out(after)
    return tuned_accuracy < accuracy and not tuned_loss <= loss  # which may be no number


def _held_out(epoch: Epoch) -> tuple[float, float]:
    """Return loss and accuracy on the images held out, both 0 if there are none."""
    return epoch.validation_loss or 0.0, epoch.validation_accuracy or 0.0


def _entry(epoch: Epoch) -> dict[str, object]:
    entry: dict[str, object] = {
        "fit": epoch.fit,
        "epoch": epoch.number,
        "loss": round(epoch.loss, 4),
        "accuracy": round(epoch.accuracy, 4),
    }
    if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
        entry["validation_loss"] = round(epoch.validation_loss, 4)
        entry["validation_accuracy"] = round(epoch.validation_accuracy, 4)
    return entry
