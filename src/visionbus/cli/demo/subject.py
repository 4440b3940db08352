"""What a demo classifies, Fashion-MNIST or images of one's own, and what the same model says of it without a bus."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.cli.errors import Failure
from visionbus.service.classifier import Classifier
from visionbus.service.errors import RefusedError
from visionbus.service.sources import FASHION_MNIST, find
from visionbus.service.wire import read_request
from visionbus.vision.datasets import fashion_mnist
from visionbus.vision.images import load, raw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visionbus.service.classifier import ServedModel
    from visionbus.service.images import Item, Pixels, Requests
    from visionbus.service.sources import Encoding
    from visionbus.service.wire import Request
    from visionbus.vision import Input

WHOLE = 10_000  # test images of Fashion-MNIST
_BATCH = 250


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Images, as `visionbus send` is told of them in `words` and makes `items` of them; `truth` has their classes.

    A class is None where it is not known. `idx` is a file of all pixels, uint8 [image, height, width], where there is
    one: the raw run reads it. `whole`: they are all of Fashion-MNIST's test images, of which a model's card speaks.
    """

    words: tuple[str, ...]
    items: Sequence[Item]
    truth: Sequence[str | None]
    idx: Path | None = None
    whole: bool = False

    def request(self, place: int, requests: Requests) -> Request:
        """Return the request that is made of an image; raise `RefusedError` where it is left out."""
        return read_request(requests.make(self.items[place], place))


def test_images(count: int, folder: Path | None, file: Path, encode: Encoding) -> Subject:
    """Take the first `count` test images of Fashion-MNIST, found in `folder` if one is named; write them to `file`."""
    dataset = fashion_mnist("test", folder=folder)
    pixels = dataset.images[:count, ..., 0]
    file.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape) + pixels.tobytes())
    whole = len(pixels) == len(dataset)
    by_name = whole and folder is None and not Path(FASHION_MNIST).exists()
    words = (FASHION_MNIST if by_name else str(file),)
    truth = [dataset.classes[label] for label in dataset.labels[:count]]
    return Subject(words, list(find(words, encode=encode, skipped=_ignore)), truth, file, whole)


def own_images(words: tuple[str, ...], classes: Sequence[str], encode: Encoding) -> Subject:
    """Take what is found in files and folders; an image's class is its folder's name, if that is one of `classes`.

    Raises `Failure` if no images are found.
    """
    items = list(find(words, encode=encode, skipped=_ignore))
    if not items:
        raise Failure(f"no images are found in {', '.join(words)}: name image files, or folders that hold some")
    folders = [Path(item).parent.name if isinstance(item, str) else None for item in items]
    return Subject(words, items, [folder if folder in classes else None for folder in folders])


def _ignore(_: str) -> None:
    """`visionbus send` says what it skips."""


@dataclass(frozen=True, slots=True)
class Offline:
    """What a model says of a subject without a bus: the place and the label of each request, by its id.

    The label is None where there is no intact image. `rate`: images/s of reading, decoding and classifying, here.
    """

    places: dict[str, int]
    labels: dict[str, str | None]
    rate: float


def classify(subject: Subject, requests: Requests, model: ServedModel) -> Offline:
    """Classify all images that are not left out, in this process."""
    start = time.perf_counter()
    classifier = Classifier(model)
    places: dict[str, int] = {}
    labels: dict[str, str | None] = {}
    for first in range(0, len(subject.items), _BATCH):
        made = []
        for place in range(len(subject.items))[first : first + _BATCH]:
            try:
                made.append(subject.request(place, requests))
            except RefusedError:  # of which `visionbus send` has told
                continue
            places[made[-1].id] = place
        answers = classifier.answer(made, [0.0] * len(made), 0.0)
        labels |= {answer.id: answer.label for answer in answers}
    return Offline(places, labels, len(labels) / (time.perf_counter() - start))


def pixels_of(request: Request, spec: Input) -> Pixels:
    """Return what the model takes of a request, uint8 of `spec.shape`."""
    return load(request.data, spec) if request.shape is None else raw(request.data, request.shape, spec)
