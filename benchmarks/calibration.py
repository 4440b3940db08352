"""How well final networks keep the temperature that the first network decided, and one that is fitted to their margins.

A few images of each class of `benchmarks/photos.py --split tiles` are fitted as `train` does where no validation split
is given: a first network without a tenth of them, which decides the temperature, then a final one on all. It is
measured on 300 other images of the training part; the test part is not opened. Told are the means over the seeds, of
each temperature: itself, how far the mean probability is above the share of right answers, in points, and the mean
negative log-likelihood in nats. `kept` is what the first network decided. `margin` is that, times what the margin
between the largest two logits is to the first network's, on the images that both have learnt. `best` suits those
that are measured.

Usage: python benchmarks/calibration.py FOLDER [--seeds 0 1 2] [--classes 3] [--each 12] [--epochs 4] [--backbone NAME]

FOLDER is made if it does not exist. Without --epochs, their number is the default.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from photos import SIDE, make

from visionbus.training import Classifier, temperature_for
from visionbus.training.building import NetworkSource
from visionbus.training.fitting import Fitting
from visionbus.training.options import Options
from visionbus.training.plan import Facts, Plan, make_plan
from visionbus.training.processes import fabric_for
from visionbus.training.recipe import phases_of
from visionbus.vision import Dataset, Input
from visionbus.vision.datasets import Holdout, open_data, split
from visionbus.vision.evaluation import logits_of, measure

if TYPE_CHECKING:
    import numpy.typing as npt

MEASURED = 300
HELD_OUT = 0.1


def opened(folder: Path, classes: int) -> Dataset:
    """The first classes of the training part."""
    if not folder.exists():
        make(folder, "tiles")
    whole = open_data(folder / "train", Input(SIDE, SIDE, "RGB"), holdout=Holdout(0.0)).train
    some = whole.subset(np.flatnonzero(whole.labels < classes))
    return Dataset(some.images, some.labels, some.classes[:classes], some.names)


def drawn(whole: Dataset, each: int, seed: int) -> tuple[Dataset, Dataset]:
    """So many images of each class, and others to measure."""
    order = np.random.default_rng(seed).permutation(len(whole))
    few = np.concatenate([order[whole.labels[order] == label][:each] for label in range(len(whole.classes))])
    others = order[~np.isin(order, few)][:MEASURED]
    return whole.subset(few), whole.subset(others)


def planned(first: Dataset, few: Dataset, source: NetworkSource, options: Options) -> Plan:
    spec = Input(SIDE, SIDE, "RGB")
    network, _ = source.describe(spec, len(few.classes))
    counts = tuple(np.bincount(first.labels).tolist())
    facts = Facts(counts, len(few) - len(first), len(few), held_out=True, input=spec, classes=few.classes)
    return make_plan(facts, options, network, phases_of(source.fresh(network, first, seed=0, spec=spec)))


def fitted(plan: Plan, source: NetworkSource, data: Dataset) -> Classifier:
    network = source.fresh(plan.network, data, seed=plan.seed, spec=plan.input)
    fitting = Fitting(network, data, plan.recipe, fabric=fabric_for("fp32"), seed=plan.seed)
    while not fitting.schedule.finished:
        fitting.step()
    fitting.end()
    return Classifier(network, plan.classes, plan.input)


def margin(logits: npt.NDArray[np.float32]) -> float:
    """How far the largest logit is above the second one, in the mean."""
    ordered = np.sort(logits, axis=1)
    return float((ordered[:, -1] - ordered[:, -2]).mean())


def figures(whole: Dataset, each: int, options: Options) -> dict[str, tuple[float, float, float]]:
    """Temperature, points above the share of right answers, and loss, of each way to choose the temperature."""
    few, others = drawn(whole, each, options.seed)
    first, held_out = split(few, HELD_OUT, seed=options.seed)
    source = NetworkSource(backbone=options.backbone)
    plan = planned(first, few, source, options)
    deciding, final = fitted(plan, source, first), fitted(plan, source, few)
    kept = temperature_for(logits_of(deciding, held_out), held_out.labels)
    surer = margin(logits_of(final, first)) / margin(logits_of(deciding, first))
    logits = logits_of(final, others)

    def told(temperature: float) -> tuple[float, float, float]:
        found = measure(logits / np.float32(temperature), others.labels, few.classes)
        sure = sum(part.images * part.confidence for part in found.calibration.bins) / found.images
        return temperature, 100 * (sure - found.accuracy), found.calibration.loss

    return {"kept": told(kept), "margin": told(kept * surer), "best": told(temperature_for(logits, others.labels))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--each", type=int, default=12, metavar="IMAGES", help="of a class")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--backbone", default="auto", metavar="NAME")
    given = parser.parse_args()
    whole = opened(given.folder, given.classes)
    chosen = [Options(epochs=given.epochs, backbone=given.backbone, seed=seed) for seed in given.seeds]
    runs = [figures(whole, given.each, options) for options in chosen]
    for name in runs[0]:
        temperature, above, loss = (statistics.mean(run[name][index] for run in runs) for index in range(3))
        print(f"{name}: temperature {temperature:.2f}, {above:+.1f} points, loss {loss:.3f}")


if __name__ == "__main__":
    main()
