"""Measures a network on images held out while it is fitted, and undoes fine-tuning that did harm to it."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import nn

from visionbus.training.batches import Batches, Compute, Features
from visionbus.training.history import Epoch, did_harm
from visionbus.training.recipe import Phase
from visionbus.training.state import State, copied
from visionbus.vision import Dataset

_AT_ONCE = 250  # images that are classified at a time


class HeldOut:
    """Images that a fit does not learn, and what the network was like before its fine-tuning, as they measured it.

    Only where the first phase of the fit learns from features is there something to be put back: the body as it was at
    first, and the head of that phase.
    """

    def __init__(self, dataset: Dataset, network: nn.Module, phases: Sequence[Phase], fabric: Fabric) -> None:
        """Begin with a fresh network."""
        self._fabric = fabric
        self._images = Batches(dataset, fabric.device)
        self._features: Features | None = None
        first = fabric.global_rank == 0  # the others help with the features alone
        self._fresh: State | None = copied(network.state_dict()) if phases[0].features and first else None
        self._head: State | None = None
        self._before: Epoch | None = None
        self._after: Epoch | None = None

    def features(self, compute: Compute) -> Features:
        """Return features of the images, which are to be computed before the next epoch's end."""
        self._features = Features(self._images, compute)
        return self._features

    def measured(self, epoch: Epoch, network: nn.Module) -> Epoch:
        """Return the figures of an epoch with those on these images; the network is left in evaluation mode."""
        loss, right = self._measure(network, self._features if epoch.features else None)
        tuned = self._after is not None and not self._after.features
        self._after = replace(epoch, validation_loss=loss, validation_accuracy=right)
        if epoch.features and self._fresh and not tuned:
            self._before, self._head = self._after, copied(network.head.state_dict())  # type: ignore[union-attr]
        return self._after

    def undo_harm(self, network: nn.Module) -> str:
        """Put the network back as it was before fine-tuning that did harm; say so, or return nothing."""
        before, after = self._before, self._after
        if not (self._fresh and self._head and before and after and did_harm(before, after)):
            return ""
        network.load_state_dict(self._fresh)
        network.head.load_state_dict(self._head)  # type: ignore[union-attr]
        return (
            f"fine-tuning made it worse on the images held out, {before.validation_accuracy:.4f} to "
            f"{after.validation_accuracy:.4f}: the body stays as it was; more epochs may help"
        )

    def state(self) -> State:
        """Return what a later fit needs to go on."""
        return {
            "head": self._head,
            "before": self._before and self._before.to_json(),
            "after": self._after and self._after.to_json(),
        }

    def load(self, state: State) -> None:
        """Go on where the state was kept."""
        self._head = state["head"]
        self._before, self._after = (state[key] and Epoch.from_json(state[key]) for key in ("before", "after"))

    def _measure(self, network: nn.Module, features: Features | None) -> tuple[float, float]:
        """Return the mean loss and the accuracy, by the head alone if there are features."""
        network.eval()
        given: Batches | Features = self._images
        classify = network
        if features:
            given, classify = features, network.head  # type: ignore[assignment]
        sums = torch.zeros(2, device=self._fabric.device)
        with torch.inference_mode(), self._fabric.autocast():
            for part in torch.split(torch.arange(len(self._images)), _AT_ONCE):
                images, truth = given.take(part)
                logits = classify(images).float()
                right = (logits.argmax(dim=1) == truth).sum()
                sums += torch.stack([nn.functional.cross_entropy(logits, truth, reduction="sum"), right])
        loss, accuracy = (sums / len(self._images)).tolist()
        return loss, accuracy
