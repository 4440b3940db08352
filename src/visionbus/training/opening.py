"""Opens the data of a training, and says what was found."""

from collections.abc import Callable
from dataclasses import replace

from visionbus.training.progress import TrainingProgress
from visionbus.vision import DatasetError, Input
from visionbus.vision.datasets import Checks, Columns, Decoding, Holdout, TrainingData, open_data, split
from visionbus.vision.datasets.array_sources import Source
from visionbus.vision.datasets.choosing import Look
from visionbus.vision.datasets.dataset import joined
from visionbus.vision.text import count

VALIDATION = 0.1  # the fraction of each class that is held out where no validation split is given


def open_for_training(
    data: Source | TrainingData,
    spec: Input | Callable[[Look], Input],
    *,
    seed: int,
    columns: Columns | None,
    checks: Checks | None,
    progress: TrainingProgress,
) -> TrainingData:
    """Return the data with a validation split, and all that a final fit may learn from.

    Args:
        data: what `open_data` takes, or what it has returned.
        spec: what image files are fitted to, or what chooses it.
        seed: of the validation split, where one is made.
        columns: which columns of a table mean what.
        checks: what is let pass.
        progress: is told what was found.

    Raises:
        DatasetError: if it cannot be opened, or nothing of it can be held out.
    """
    if isinstance(data, TrainingData):
        found = data
    else:
        with progress.decoding() as advance:
            decoding = Decoding(progress=advance)
            held_out = Holdout(VALIDATION, seed)
            found = open_data(data, spec, columns=columns, holdout=held_out, checks=checks, decoding=decoding)
    for skipped in found.skipped:
        progress.say(f"skipped {skipped.name}: {skipped.reason}")
    for note in found.notes:
        progress.say(f"note: {note}")
    if found.leaks:
        progress.say(f"note: {count(len(found.leaks), 'leak')} (visionbus data check names them)")
    return _with_validation(found, seed)


def _with_validation(found: TrainingData, seed: int) -> TrainingData:
    """Hold a part of the training images out, unless there are some to validate on."""
    if found.validation is not None and not len(found.validation):
        raise DatasetError(
            "all validation images are among the training images, too: give other ones, or keep them (--keep-leaks)"
            if found.leaks
            else "the validation split has no images: give some, or leave it out"
        )
    if found.validation is not None:
        together = found.trainval or joined(found.train, found.validation, Decoding.memory)
        return replace(found, trainval=together)
    rest, held_out = split(found.train, VALIDATION, seed=seed)
    if not len(held_out):
        raise DatasetError("every class has a single image, so none can be held out: add images")
    return replace(found, train=rest, validation=held_out, trainval=found.train, held_out=True)
