"""Photographs by fastai, as its Imagenette tutorial trains from scratch: xresnet34, random crops, one cycle.

A cycle's length is fixed before it begins: a throwaway learner tells what an epoch takes, and the cycle has as many
epochs as spend the processor time that is given, rounded up. The trial is not in that time.
"""

import math

import torch
from fastai.vision.all import (
    ImageDataLoaders,
    Learner,
    Normalize,
    Path,
    RandomResizedCrop,
    ShortEpochCallback,
    accuracy,
    get_image_files,
    imagenet_stats,
    set_seed,
    xresnet34,
)
from peer import Epochs, cpu, options

TRIALS = (0.2, 0.5)  # of an epoch; the difference has neither the start nor the step that ends a short epoch


def trial(loaders: ImageDataLoaders) -> float:
    """Return the processor time of an epoch, in seconds."""
    learner = Learner(loaders, xresnet34(n_out=loaders.c), metrics=accuracy)
    spent = []
    for part in TRIALS:
        began = cpu()
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, 1e-6, cbs=ShortEpochCallback(part, short_valid=True))
        spent.append(cpu() - began)
    return (spent[1] - spent[0]) / (TRIALS[1] - TRIALS[0])


def main() -> None:
    given = options()
    set_seed(given.seed)
    epochs = Epochs(given, documented=5)
    folder = Path(given.data)
    loaders = ImageDataLoaders.from_folder(
        folder / "train",
        valid_pct=0.2,
        seed=given.seed,
        item_tfms=RandomResizedCrop(128, min_scale=0.35),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
    )
    count = epochs.most
    if given.cpu is not None and not given.quick:
        left = given.cpu - cpu()
        count = max(1, math.ceil(left / trial(loaders)))
    learner = Learner(loaders, xresnet34(n_out=loaders.c), metrics=accuracy)
    callbacks = [ShortEpochCallback(TRIALS[0])] if given.quick else []
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(count, 1e-3, cbs=callbacks)
    for values in learner.recorder.values:
        epochs.add(values[-1] if len(values) else 0.0)  # a short epoch has no figures
    learner.export("model.pkl")
    tests = get_image_files(folder / "test")[:: 20 if given.quick else 1]
    with learner.no_bar():
        _, correct = learner.validate(dl=loaders.test_dl(tests, with_labels=True))
    epochs.report(correct, "fastai", "torch", "torchvision", threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
