"""A linear probe: the pretrained backbone as it is, and a logistic regression on its features.

The images are those that our training takes, at the same size, without augmentation. How strongly the regression is
held back is chosen on a tenth of the training images, then all of them are fitted, and the test images are seen once.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from visionbus.training.building import NetworkSource, input_for
from visionbus.training.networks.choice import DEFAULT, choose, fresh
from visionbus.vision import Dataset
from visionbus.vision.datasets import Holdout, open_data

BATCH = 64
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)


def regression(features: Tensor, labels: Tensor, classes: int, decay: float) -> Tensor:
    """Return the weights of a logistic regression, the last row its bias."""
    weights = torch.zeros(features.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = functional.cross_entropy(logits(weights, features), labels) + decay * weights[:-1].square().sum()
        wrong.backward()
        return wrong

    optimizer.step(loss)
    return weights.detach()


def logits(weights: Tensor, features: Tensor) -> Tensor:
    return features @ weights[:-1] + weights[-1]


def accuracy(weights: Tensor, features: Tensor, labels: Tensor) -> float:
    return float((logits(weights, features).argmax(1) == labels).float().mean())


def features_of(network: torch.nn.Module, data: Dataset, quick: bool) -> tuple[Tensor, Tensor]:  # noqa: FBT001
    if quick:
        data = data.subset(np.arange(0, len(data), 20))
    with torch.inference_mode():
        parts = [
            network.features(torch.from_numpy(np.ascontiguousarray(data.images[start : start + BATCH])))
            for start in range(0, len(data), BATCH)
        ]
    return torch.cat(parts).clone(), torch.from_numpy(np.asarray(data.labels))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few images, to see that it runs")
    given = parser.parse_args()
    data = open_data(given.data, input_for(NetworkSource(backbone=DEFAULT), None), holdout=Holdout(0.1, given.seed))
    classes = len(data.train.classes)
    network = fresh(choose(data.input, classes, backbone=DEFAULT).config, data.train.images, seed=given.seed).eval()
    (train, labels), (held_out, truth) = (
        features_of(network, part, given.quick) for part in (data.train, data.validation)
    )
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    train, held_out = (train - mean) / deviation, (held_out - mean) / deviation
    found = {decay: accuracy(regression(train, labels, classes, decay), held_out, truth) for decay in DECAYS}
    decay = max(DECAYS, key=found.__getitem__)
    weights = regression(torch.cat([train, held_out]), torch.cat([labels, truth]), classes, decay)
    tests, wanted = features_of(network, data.test, given.quick)
    figures = {"accuracy": accuracy(weights, (tests - mean) / deviation, wanted), "validation": found[decay]}
    figures |= {"decay": decay, "precision": "fp32", "threads": torch.get_num_threads()}
    print(json.dumps(figures | {"versions": {"torch": str(torch.__version__)}}))


if __name__ == "__main__":
    main()
