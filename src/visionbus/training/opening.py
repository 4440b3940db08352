"""Opens the data of a training, and says what was found."""

from dataclasses import replace

from visionbus.training.progress import TrainingProgress
from visionbus.vision import DatasetError, Input
from visionbus.vision.datasets import Checks, Columns, Decoding, Holdout, TrainingData, open_data
from visionbus.vision.datasets.array_sources import Source
from visionbus.vision.datasets.choosing import Chooser
from visionbus.vision.datasets.dataset import joined
from visionbus.vision.datasets.leaks import digests
from visionbus.vision.datasets.opened import Split, divided
from visionbus.vision.text import count

VALIDATION = 0.1  # the fraction of each class that is held out where no validation split is given


def open_for_training(
    data: Source | TrainingData,
    spec: Input | Chooser,
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
    if found.validation is None:
        found = _held_out(found, seed, keep_leaks=checks is not None and checks.keep_leaks)
    if not found.validation:
        raise DatasetError(
            "all validation images are among the training images, too: give other ones, or keep them (--keep-leaks)"
            if found.leaks
            else "the validation split has no images: give some, or leave it out"
        )
    return replace(found, trainval=found.trainval or joined(found.train, found.validation, Decoding.memory))


def _held_out(found: TrainingData, seed: int, *, keep_leaks: bool) -> TrainingData:
    """Hold a part of the training images out, of data that was opened without a validation split.

    Raises:
        DatasetError: if nothing can be held out.
    """
    whole, held, _ = Holdout(VALIDATION, seed).put_last(found.train, Decoding.memory)
    if not held:
        raise DatasetError("every class has a single image, so none can be held out: add images")
    border = len(whole) - held
    marks = digests(whole.images)
    train, validation = (Split(whole.subset(part), marks[part]) for part in (slice(border), slice(border, None)))
    data = divided(
        replace(found, trainval=whole, held_out=True),
        {"train": train, "validation": validation},
        keep_leaks=keep_leaks,
        memory=Decoding.memory,
    )
    new = tuple(leak for leak in data.leaks if leak.across_splits)
    return replace(data, test=found.test, leaks=found.leaks + new)
