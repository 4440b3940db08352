"""Hands images and labels to the training loop, batch by batch."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from visionbus.vision import Dataset

_SHARE = 4  # images are kept on a device where they take at most this part of its free memory
_BATCH = 250  # images whose features are computed at a time


class Batches:
    """Takes batches from a data set that may be larger than the memory; nothing is copied but what is taken."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        """Take from `dataset`, and put onto `device`."""
        self._labels = torch.from_numpy(dataset.labels.copy()).to(device)
        self._images = dataset.images
        self._device = device
        self._there: Tensor | None = None
        if device.type == "cuda" and dataset.images.nbytes <= torch.cuda.mem_get_info(device)[0] // _SHARE:
            self._there = torch.from_numpy(np.array(dataset.images)).to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images at `chosen`, int64 [n] on the CPU, and their labels, both on the device."""
        labels = self._labels[chosen.to(self._device)]
        if self._there is not None:
            return self._there[chosen.to(self._device)], labels
        return torch.from_numpy(np.asarray(self._images[chosen.numpy()])).to(self._device), labels


class Features(Batches):
    """Takes batches of features, float [n, ...], instead of the images, once all of them are computed."""

    def __init__(self, dataset: Dataset, device: torch.device, features: Callable[[Tensor], Tensor]) -> None:
        """Compute with `features`, which maps uint8 [n, height, width, channel]; the results stay on `device`."""
        super().__init__(dataset, device)
        self._features = features
        self._parts: list[Tensor] = []
        self._done = 0
        self.at_once = _BATCH

    @property
    def complete(self) -> bool:
        """Whether all are computed."""
        return self._done == len(self)

    def compute(self) -> None:
        """Compute those of the next `at_once` images.

        Raises:
            OutOfMemoryError: if these are too many for the device; with a smaller `at_once` it may be called again.
        """
        part = torch.arange(self._done, min(self._done + self.at_once, len(self)))
        with torch.no_grad():
            self._parts.append(self._features(self.take(part)[0]).float())
        self._done += len(part)
        if self.complete:
            self._there = torch.cat(self._parts)
            self._parts.clear()
