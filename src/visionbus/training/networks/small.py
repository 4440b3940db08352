"""Our convolutional network, trained from scratch on images of 8 to some 224 pixels a side."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from visionbus.training.networks.pixels import FromPixels
from visionbus.vision import Input

_MAX_STAGES = 5
_LARGE = 64  # pixels a side, above which images are halved before the first stage


@dataclass(frozen=True)
class NetworkConfig:
    """The network's shape.

    Attributes:
        classes: the number of classes.
        channels: the channels of the images, 1 or 3.
        widths: the channels of each stage; each stage halves height and width.
        scale: a factor of the logits; a small one makes the predictions of a fresh network uncertain.
        stem: the channels of a convolution that halves height and width before the first stage; 0 for none.
    """

    classes: int
    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    scale: float = 0.125
    stem: int = 0

    @classmethod
    def for_images(cls, spec: Input, classes: int) -> "NetworkConfig":
        """Choose as many stages as leave a few pixels per side: 3 for 28 pixels, 4 for 64, at most 5.

        Above 64 pixels a stem does the work of the first stage, which would take more time than all others.

        Raises:
            ValueError: if a side is a single pixel.
        """
        side = min(spec.height, spec.width)
        if side < 2:
            raise ValueError(
                f"images of {spec.height} x {spec.width} pixels are too small: they need 2 a side at least"
            )
        large = side > _LARGE
        stages = min(max(int(math.log2(side / 3.5)) - large, 1), _MAX_STAGES)
        widths = tuple(min(32 * 2 ** (stage + large), 256) for stage in range(stages))
        return cls(classes, spec.channels, widths, stem=32 if large else 0)


class Stem(nn.Module):
    """A 3x3 convolution of stride 2: what large images hold in single pixels is seen at a quarter of the cost."""

    def __init__(self, channels: int, width: int) -> None:
        """Create the layers for `channels` input and `width` output channels."""
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        self.norm = _norm(width)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map float [n, channels, height, width] to [n, width, height / 2, width / 2], rounded up."""
        halved: Tensor = self.activation(self.norm(self.enter(features)))
        return halved

    def fused(self) -> nn.Module:
        """Return what computes the same with the batch norm folded into the convolution, in evaluation mode."""
        return nn.Sequential(fuse_conv_bn_eval(self.enter, self.norm), self.activation)


class Stage(nn.Module):
    """Two 3x3 convolutions with max pooling between them, so that the second one works at half the size."""

    def __init__(self, channels: int, width: int) -> None:
        """Create the layers for `channels` input and `width` output channels."""
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=False)
        self.enter_norm = _norm(width)
        self.refine = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.refine_norm = _norm(width)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Map float [n, channels, height, width] to [n, width, height // 2, width // 2]."""
        features = self.activation(self.enter_norm(self.pool(self.enter(features))))
        refined: Tensor = self.activation(self.refine_norm(self.refine(features)))
        return refined


class FusedStage(nn.Module):
    """A trained stage whose batch norms are folded into the convolutions: each is a factor and an offset per channel.

    Batch norm commutes with max pooling because its factor is positive, see `_norm`. So does the activation, which is
    monotonic: it moves next to the convolution, where runtimes compute both in one pass.
    """

    def __init__(self, stage: Stage) -> None:
        """Take the weights of `stage`, which must be in evaluation mode."""
        super().__init__()
        self.enter = fuse_conv_bn_eval(stage.enter, stage.enter_norm)
        self.refine = fuse_conv_bn_eval(stage.refine, stage.refine_norm)
        self.pool = stage.pool
        self.activation = stage.activation

    def forward(self, features: Tensor) -> Tensor:
        """Compute what the stage did: float [n, channels, height, width] to [n, width, height // 2, width // 2]."""
        features = self.pool(self.activation(self.enter(features)))
        refined: Tensor = self.activation(self.refine(features))
        return refined


class Network(FromPixels):
    """Maps images to logits."""

    def __init__(self, config: NetworkConfig) -> None:
        """Create the layers; their weights come from torch's random state."""
        super().__init__(config.channels)
        self.config = config
        self.stem: nn.Module = Stem(config.channels, config.stem) if config.stem else nn.Identity()
        channels = (config.stem or config.channels, *config.widths)
        self.stages = nn.Sequential(*(Stage(*pair) for pair in zip(channels[:-1], config.widths, strict=True)))
        self.head = nn.Linear(config.widths[-1], config.classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to float [n, class]."""
        features: Tensor = self.stages(self.stem(self.normalised(images)))
        logits: Tensor = self.head(torch.amax(features, dim=(2, 3)))
        return logits * self.config.scale

    def fused(self) -> "Network":
        """Return a copy in evaluation mode that computes the same with fewer layers; it cannot be trained."""
        network = copy.deepcopy(self).eval()
        network.stem = network.stem.fused() if isinstance(network.stem, Stem) else network.stem
        network.stages = nn.Sequential(*(FusedStage(stage) for stage in network.stages if isinstance(stage, Stage)))
        return network


def build(config: NetworkConfig, images: npt.NDArray[np.uint8], *, seed: int) -> Network:
    """Return a fresh network, normalised by images uint8 [image, height, width, channel]; `seed` fixes its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(config)
    network.normalise_by(images)
    return network.to(memory_format=torch.channels_last)


def _norm(width: int) -> nn.BatchNorm2d:
    """Return a batch norm with a learned offset but no learned factor: so the factor stays positive."""
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad = False
    return norm
