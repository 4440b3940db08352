"""Hands images and labels to the training loop, batch by batch."""

from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from visionbus.vision import Dataset

_SHARE = 4  # images are kept on a device where they take at most this part of its free memory
_BATCH = 250  # images whose features are computed at a time

Compute = Callable[[Tensor], Tensor]  # maps uint8 [n, height, width, channel] to features, float [n, ...]


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
        if self._there is not None:
            return self._there[chosen.to(self._device)], self.labels(chosen)
        return torch.from_numpy(np.asarray(self._images[chosen.numpy()])).to(self._device), self.labels(chosen)

    def labels(self, chosen: Tensor) -> Tensor:
        """Return the labels of the images at `chosen`, on the device."""
        return self._labels[chosen.to(self._device)]


def shared(compute: Compute, fabric: Fabric) -> Compute:
    """Return what computes the same, each process of several a share of it; they must call it together."""
    first, every = fabric.global_rank, fabric.world_size

    def compute_together(images: Tensor) -> Tensor:
        if len(images) < every:  # not every network takes no images
            return compute(images)
        own = compute(images[first::every]).float()
        whole = own.new_zeros((len(images), *own.shape[1:]))
        whole[first::every] = own
        return fabric.all_reduce(whole, reduce_op="sum")  # type: ignore[return-value]

    return compute if every == 1 else compute_together


class Features:
    """Takes batches of features, float [n, ...], instead of the images, once those that are wanted are computed.

    Attributes:
        done: of how many images they are computed.
        at_once: of how many images they are computed at a time.
    """

    def __init__(self, images: Batches, compute: Compute, wanted: Tensor | None = None) -> None:
        """Compute them from `images`; the results stay on their device.

        Those of the images at `wanted`, int64 [n], are computed in this order; by default, of all images.
        """
        self._images = images
        self._compute = compute
        self._wanted = torch.arange(len(images)) if wanted is None else wanted
        self._row = torch.empty(len(images), dtype=torch.int64)  # of each image that is wanted, in what is computed
        self._row[self._wanted] = torch.arange(len(self._wanted))
        self._parts: list[Tensor] = []
        self.done = 0
        self.at_once = _BATCH

    @property
    def wanted(self) -> int:
        """Of how many images they are wanted."""
        return len(self._wanted)

    @property
    def complete(self) -> bool:
        """Whether all that are wanted are computed."""
        return self.done == self.wanted

    def want(self, count: int) -> Tensor:
        """Want those of the first images only, but no fewer than are computed; return which images these are."""
        self._wanted = self._wanted[: max(count, self.done)]
        return self._wanted

    def compute(self) -> None:
        """Compute those of the next `at_once` images.

        Raises:
            OutOfMemoryError: if these are too many for the device; with a smaller `at_once` it may be called again.
        """
        part = self._wanted[self.done : self.done + self.at_once]
        with torch.no_grad():
            self._parts.append(self._compute(self._images.take(part)[0]).float())
        self.done += len(part)

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the images at `chosen`, int64 [n] on the CPU, and their labels, both on the device."""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        (there,) = self._parts
        return there[self._row[chosen].to(there.device)], self._images.labels(chosen)
