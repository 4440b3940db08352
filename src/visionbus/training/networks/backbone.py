"""A network of timm whose weights were learnt on millions of photographs, with a head of its own for new classes."""

import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Self

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from visionbus.training.networks.pixels import FromPixels
from visionbus.training.networks.sources import Source, source
from visionbus.training.networks.weights import matched, read
from visionbus.training.recipe import Phase

_WHITE = 255.0
_LOWER = 0.3  # the share of the body's parameters, counted as tensors, that are fine as they are


@dataclass(frozen=True)
class Backbone:
    """Which network of timm, and where its weights come from.

    Attributes:
        name: timm's, such as tf_efficientnet_lite0.
        classes: the number of classes.
        weights: the file of the weights; an empty text for those at hand or on the hub.
        pretrained: whether there are such weights; if not, they are random.

    Raises:
        ValueError: if timm has no such network, or one for images of a single size only.
    """

    name: str
    classes: int
    weights: str = ""
    pretrained: bool = True

    def __post_init__(self) -> None:
        """Check the name."""
        if not timm.is_model(self.name):
            known = timm.list_models()
            near = get_close_matches(self.name, known, 5) or [name for name in known if self.name in name][:5]
            like = f"did you mean {', '.join(near)}?" if near else "https://huggingface.co/timm lists them"
            raise ValueError(f"timm {timm.__version__} has no network {self.name!r}: {like}")
        if timm.models.get_pretrained_cfg_value(self.name, "fixed_input_size"):
            raise ValueError(f"{self.name} takes images of one size only: take a convolutional network")

    def source(self) -> Source | None:
        """Return where the weights come from; None for random ones.

        Raises:
            WeightsError: if they cannot be had.
        """
        if not self.pretrained:
            return None
        return Source(path := Path(self.weights), path.name) if self.weights else source(self.name)

    def build(self, *, seed: int) -> "BackboneNetwork":
        """Return the network with its weights; `seed` fixes those that are random.

        Raises:
            WeightsError: if the weights cannot be had, or are of another network.
            OSError: if their file cannot be read.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = BackboneNetwork(self)
        found = self.source()
        if found is not None:
            body = network.body.state_dict()
            body |= matched(read(found.path), body, found.origin)
            network.body.load_state_dict(body)
        return network.to(memory_format=torch.channels_last)


class BackboneNetwork(FromPixels):
    """Maps images to logits; at first the logits are 0, since the head knows nothing.

    Batch norms keep pretrained statistics: a few new images would only blur them.
    """

    def __init__(self, config: Backbone) -> None:
        """Create the layers; their weights come from torch's random state."""
        super().__init__(3)
        self.config = config
        self.body = timm.create_model(config.name, num_classes=0)
        self.head = nn.Linear(int(self.body.head_hidden_size), config.classes)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for buffer, name in ((self.mean, "mean"), (self.deviation, "std")):
            buffer.copy_(_WHITE * torch.tensor(timm.models.get_pretrained_cfg_value(config.name, name)))

    def features(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to what the head takes, float [n, feature].

        Images of one channel are seen as grey ones of three.
        """
        features: Tensor = self.body(self.normalised(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to float [n, class]."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 (torch's signature)
        """Enter training mode, or leave it; pretrained batch norms stay out of it."""
        super().train(mode)
        for module in self.body.modules() if self.config.pretrained else ():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def phases(self) -> tuple[Phase, ...]:
        """Return how to fit it: the head, to features computed once; then all but the lower layers of the body, too.

        The lower layers know edges and colours, which photographs share. They have few weights, but large maps: of
        EfficientNet-lite0, 2 % of the weights and two fifths of a step's cost.
        """
        return (
            Phase(epochs=1.0, rate=3.0, learns=("head.",), features=True),
            Phase(epochs=0.25, rate=0.055, learns=("head.", *self._upper()), adaptive=True),
        )

    def _upper(self) -> tuple[str, ...]:
        """Return the names of those parameters of the body that are not among its lower ones."""
        names = [f"body.{name}" for name, _ in self.body.named_parameters()]
        return tuple(names[math.ceil(_LOWER * len(names)) :])
