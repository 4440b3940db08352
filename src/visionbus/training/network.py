"""The convolutional network that is trained from scratch."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@dataclass(frozen=True)
class NetworkConfig:
    """The network's shape; its parameters are about `9 * sum(a * b)` over neighbouring convolutions.

    Attributes:
        classes: how many there are.
        channels: of the images, 1 or 3.
        widths: channels of each stage; a stage halves height and width.
        scale: what the logits are multiplied by, so that a fresh network starts out unsure.
    """

    classes: int
    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    scale: float = 0.125


class Stage(nn.Module):
    """Two 3x3 convolutions, half the size between them: most of the work is done on the small side."""

    def __init__(self, channels: int, width: int) -> None:
        """Build the layers for `channels` in and `width` out."""
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.enter_norm = _norm(width)
        self.refine = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.refine_norm = _norm(width)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map float [n, channels, height, width] to [n, width, height // 2, width // 2]."""
        features = self.activation(self.enter_norm(self.pool(self.enter(features))))
        return self.activation(self.refine_norm(self.refine(features)))


class Network(nn.Module):
    """Images to logits; normalisation is its first step, so pixels go in as they are."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        """Build the layers with fresh weights from torch's random state."""
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("deviation", torch.ones(config.channels))
        channels = (config.channels, *config.widths)
        self.stages = nn.Sequential(*(Stage(a, b) for a, b in zip(channels, config.widths, strict=False)))
        self.head = nn.Linear(config.widths[-1], config.classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to float [n, classes]."""
        pixels = (images.float() - self.mean) / self.deviation
        features = self.stages(pixels.permute(0, 3, 1, 2))
        return self.head(torch.amax(features, dim=(2, 3))) * self.config.scale


def _norm(width: int) -> nn.BatchNorm2d:
    """Batch norm that shifts but never scales, so that its factor is positive and moves through max pooling."""
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad_(requires_grad=False)
    return norm
