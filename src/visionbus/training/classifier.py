"""Makes a torch network a `Model`."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from visionbus.vision import Input


def as_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Return a tensor that shares the array's memory, or copies it if it is read-only, which torch does not support."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


class Calibrated(nn.Module):
    """A network whose logits are divided by a temperature (Guo et al., 2017): same labels, calibrated probabilities."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        """Wrap `network`, which maps uint8 [n, height, width, channel] to float [n, class]."""
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [n, height, width, channel] to float [n, class]."""
        logits: Tensor = self.network(images)
        return logits / self.temperature


class Classifier:
    """A `Model` that torch runs in float32, on the device of its network."""

    def __init__(self, network: nn.Module, classes: tuple[str, ...], spec: Input, *, temperature: float = 1.0) -> None:
        """Put `network`, which maps uint8 [n, height, width, channel] to float [n, class], into evaluation mode."""
        self.network = network.eval()
        self.temperature = temperature
        self._classes = classes
        self._input = spec

    def at(self, temperature: float) -> "Classifier":
        """Return a classifier with the same network and another temperature."""
        return Classifier(self.network, self._classes, self._input, temperature=temperature)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self._classes

    @property
    def input(self) -> Input:
        """The images that the network takes."""
        return self._input

    @torch.inference_mode()
    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits, float32 [image, class], of images uint8 [image, height, width, channel]."""
        device = next(self.network.parameters()).device
        logits = self.network(as_tensor(batch).to(device)) / self.temperature
        return np.asarray(logits.float().cpu().numpy(), dtype=np.float32)


def temperature_for(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that makes the labels, int64 [n], most likely under held-out logits, float32 [n, class].

    The images count as if there were one more, of each class in equal parts (as in Platt, 1999): a handful of images
    that are all right would make every probability 1 otherwise. It is found between 0.05 and 20 by golden-section
    search: the likelihood has one maximum over the logarithm of the temperature.
    """
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    doubt = 1 / (len(labels) + 1)

    def loss(exponent: float) -> float:
        return float(nn.functional.cross_entropy(scores / np.exp(exponent), truth, label_smoothing=doubt))

    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))
