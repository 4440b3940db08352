"""From requests to answers: a bad image, or one that the model fails on, leaves its batch mates alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from visionbus.service.wire import Answer
from visionbus.vision import ImageError, Model, Prediction
from visionbus.vision.images import load, raw
from visionbus.vision.model import predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visionbus.service.wire import Request

_LONGEST_REASON = 500  # characters of an error answer


class ServedModel(Model, Protocol):
    """A model with the name and version that stand in its answers, as `OnnxModel` has them."""

    @property
    def name(self) -> str:
        """What requests call it."""

    @property
    def version(self) -> str:
        """Tells models of one name apart."""


class Classifier:
    """Answers with one model.

    All of it may take long, and a hostile image may do its worst to the decoder: call it in a thread.
    """

    def __init__(self, model: ServedModel) -> None:
        self.name = model.name
        self.version = model.version
        self._model = model
        self._classes = tuple(model.classes)
        self._input = model.input

    def warm_up(self, size: int) -> float:
        """Run batches of 1 and of `size`, so that the first request finds all in place; return seconds per image."""
        for images in (1, size, size):
            start = time.monotonic()
            self._model.logits(np.zeros((images, *self._input.shape), np.uint8))
        return (time.monotonic() - start) / size

    def answer(self, requests: Sequence[Request], published: Sequence[float], received: float) -> list[Answer]:
        """Return each request's answer, in order; times are seconds since the epoch.

        A clock that steps back does not show: in an answer, published <= received <= done.
        """
        pixels = np.empty((len(requests), *self._input.shape), np.uint8)
        outcomes: list[Prediction | str] = [""] * len(requests)
        decoded: list[int] = []
        for index, request in enumerate(requests):
            try:
                pixels[len(decoded)] = self._pixels(request)
            except ImageError as error:
                outcomes[index] = str(error)
            except Exception as error:  # noqa: BLE001 (whatever a decoder comes up with, the others are answered)
                outcomes[index] = f"the image cannot be read: {type(error).__name__}: {error}"
            else:
                decoded.append(index)
        for index, outcome in zip(decoded, self._predict(pixels[: len(decoded)]), strict=True):
            outcomes[index] = outcome
        done = time.time()
        return [
            self._answer(request, outcome, at, max(at, received), max(at, received, done))
            for request, outcome, at in zip(requests, outcomes, published, strict=True)
        ]

    def _pixels(self, request: Request) -> npt.NDArray[np.uint8]:
        if request.model is not None and request.model != self.name:
            raise ImageError(f"model {request.model!r:.100} is not served here: this worker has {self.name!r}")
        if request.shape is not None:
            return raw(request.data, request.shape, self._input)
        return load(request.data, self._input)

    def _predict(self, batch: npt.NDArray[np.uint8]) -> list[Prediction | str]:
        """Classify uint8 [image, h, w, c]; where the model fails, halve to find the images that it fails on."""
        if not len(batch):
            return []
        try:
            return self._run(batch)
        except Exception as error:  # noqa: BLE001 (the model is the user's: anything may come)
            if len(batch) == 1:
                return [f"the model failed: {type(error).__name__}: {error}"]
            half = len(batch) // 2
            return self._predict(batch[:half]) + self._predict(batch[half:])

    def _run(self, batch: npt.NDArray[np.uint8]) -> list[Prediction | str]:
        logits = self._model.logits(batch)
        if logits.shape != (len(batch), len(self._classes)):
            raise ValueError(f"its logits have the shape {logits.shape}, not {(len(batch), len(self._classes))}")
        outcomes: list[Prediction | str] = list(predictions(logits, self._classes))
        finite = np.isfinite(logits)
        if not finite.all():
            for index in np.flatnonzero(~finite.all(axis=1)):
                outcomes[index] = "the model failed: its logits are not finite"
        return outcomes

    def _answer(
        self, request: Request, outcome: Prediction | str, published: float, received: float, done: float
    ) -> Answer:
        if isinstance(outcome, str):
            reason = outcome[:_LONGEST_REASON].encode(errors="replace").decode()  # it may quote the request
            return Answer(request.id, None, (), self.name, self.version, published, received, done, reason, request.run)
        return Answer(
            request.id,
            outcome.label,
            outcome.probabilities,
            self.name,
            self.version,
            published,
            received,
            done,
            None,
            request.run,
        )
