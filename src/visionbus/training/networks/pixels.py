"""Takes pixels as they are: the first step of every network here is to normalise them."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class FromPixels(nn.Module):
    """A network that takes uint8 [n, height, width, channel], and normalises them by a mean and a deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        """Create the buffers for this many channels; before `normalise_by`, they change nothing."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def normalised(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to float [n, channel, height, width]."""
        pixels = (images.float() - self.mean) / self.deviation
        return pixels.permute(0, 3, 1, 2)

    def normalise_by(self, images: npt.NDArray[np.uint8]) -> None:
        """Normalise by mean and standard deviation per channel of images, uint8 [image, height, width, channel]."""
        values = np.arange(256)
        for channel in range(len(self.mean)):
            pixels = torch.from_numpy(images[..., channel].flatten())
            counts = torch.bincount(pixels, minlength=256).numpy()  # numpy's would make int64 of all pixels first
            mean = np.average(values, weights=counts)
            self.mean[channel] = mean
            self.deviation[channel] = max(np.sqrt(np.average((values - mean) ** 2, weights=counts)), 1.0)


class Pixels(FromPixels):
    """Makes a network of one's own, which takes float [n, channel, height, width], take pixels as they are.

    Most networks of torchvision and timm are of that kind: `Pixels(network, mean=(123.7, 116.3, 103.5),
    deviation=(58.4, 57.1, 57.4))` gives them what they were trained with.
    """

    def __init__(self, network: nn.Module, *, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        """Wrap `network`; `mean` and `deviation` have a number for each channel, for pixels from 0 to 255."""
        super().__init__(len(mean))
        self.mean.copy_(torch.tensor(mean))
        self.deviation.copy_(torch.tensor(deviation))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to what the network gives, float [n, class]."""
        logits: Tensor = self.network(self.normalised(images))
        return logits
