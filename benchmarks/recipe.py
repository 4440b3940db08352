"""What a recipe for Fashion-MNIST gives: fitted on 50,000 of the training images, measured on the other 10,000.

The test part is not opened. Settings are fields of the recipe, and `shift`, in place of those that `train` would take.
With --further, nine tenths of the 50,000 are learnt first, and the others choose a temperature; then the network goes
on with all of them for so many epochs.

Usage: python benchmarks/recipe.py [--seeds 0 1 2] [--precision bf16] [--temperature T] [--further EPOCHS]
       [NAME=VALUE ...]
For example: python benchmarks/recipe.py --seeds 0 1 --further 3 epochs=5 orthogonal=0.035
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np

from visionbus.training import Augment, Classifier, Recipe, temperature_for
from visionbus.training.fitting import Fitting
from visionbus.training.networks import Network, NetworkConfig, build
from visionbus.training.processes import fabric_for
from visionbus.vision import Dataset, Input
from visionbus.vision.datasets import Holdout, open_data, split

HELD_OUT = 1 / 6
SPEC = Input(28, 28, "L")


def parts() -> tuple[Dataset, Dataset]:
    """The same two parts of the training images for all recipes and seeds."""
    found = open_data("fashion-mnist", SPEC, holdout=Holdout(0.0, 0))
    return split(found.train, HELD_OUT, seed=2026)


def recipe_with(settings: list[str]) -> Recipe:
    """The recipe with each setting, NAME=VALUE, in place of its own."""
    values = {name: float(value) for name, _, value in (setting.partition("=") for setting in settings)}
    shift = int(values.pop("shift", 0))
    whole = {name: int(values.pop(name)) for name in ("batch",) if name in values}
    return replace(Recipe(augment=Augment(shift=shift)), **values, **whole)


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    scores = logits.astype(np.float64) / temperature
    return float((np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(labels)), labels]).mean())


def fresh(learnt: Dataset, seed: int) -> Network:
    return build(NetworkConfig.for_images(SPEC, len(learnt.classes)), learnt.images, seed=seed)


def fit(network: Network, learnt: Dataset, recipe: Recipe, *, seed: int, precision: str) -> float:
    """Fit a network; return the seconds that a step took in the median."""
    fitting, seconds = Fitting(network, learnt, recipe, fabric=fabric_for(precision), seed=seed), []
    while not fitting.schedule.finished:
        began = time.perf_counter()
        fitting.step()
        seconds.append(time.perf_counter() - began)
    fitting.end()
    return statistics.median(seconds)


def decided(network: Network, learnt: Dataset, recipe: Recipe, *, seed: int, precision: str) -> float:
    """Fit a network to nine tenths of what is to be learnt; return the temperature that suits the others."""
    part, rest = split(learnt, 0.1, seed=seed)
    fit(network, part, recipe, seed=seed, precision=precision)
    return temperature_for(Classifier(network, learnt.classes, SPEC).logits(rest.images), rest.labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--temperature", type=float, help="also tell the loss at this one, of another fit")
    parser.add_argument("--further", type=float, metavar="EPOCHS", help="go on with all images for so many epochs")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_intermixed_args()
    recipe, (learnt, held_out) = recipe_with(arguments.settings), parts()
    print(f"{len(learnt)} learnt, {len(held_out)} held out; {recipe}", flush=True)
    accuracies = []
    for seed in arguments.seeds:
        network, how = fresh(learnt, seed), {"seed": seed, "precision": arguments.precision}
        at, last = [arguments.temperature] if arguments.temperature else [], recipe
        if arguments.further:
            at.append(decided(network, learnt, recipe, **how))
            last = replace(recipe, epochs=arguments.further)
        step = fit(network, learnt, last, **how)
        logits = Classifier(network, learnt.classes, SPEC).logits(held_out.images)
        at = [temperature_for(logits, held_out.labels), *at]
        accuracies.append(float((logits.argmax(axis=1) == held_out.labels).mean()))
        losses = ", ".join(f"loss {loss(logits, held_out.labels, t):.4f} at temperature {t:.3f}" for t in at)
        print(f"seed {seed}: accuracy {accuracies[-1]:.4f}, {losses}; {step * 1000:.0f} ms a step", flush=True)
    print(f"mean accuracy {statistics.mean(accuracies):.4f} of {len(accuracies)}")


if __name__ == "__main__":
    main()
