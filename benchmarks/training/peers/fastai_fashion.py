"""Fashion-MNIST by fastai, as its example mnist_blocks trains MNIST: ResNet-18, batches of 256, one cycle of one epoch.

There the weights are pretrained, which cannot be fetched here: they are random. Where more epochs are wanted, that
cycle is run again.
"""

import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    Path,
    PILImageBW,
    RandomSplitter,
    accuracy,
    get_image_files,
    parent_label,
    resnet18,
    set_seed,
    vision_learner,
)
from peer import Epochs, options


def main() -> None:
    given = options()
    set_seed(given.seed)
    epochs = Epochs(given, documented=1)
    files = get_image_files(Path(given.data) / "training")
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock),
        get_items=lambda files: files[::50] if given.quick else files,
        splitter=RandomSplitter(0.1, seed=given.seed),
        get_y=parent_label,
    )
    loaders = block.dataloaders(files, bs=256)
    learner = vision_learner(loaders, resnet18, pretrained=False, n_in=1, metrics=accuracy)
    while not epochs.enough:
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(1, 1e-2)
        epochs.add(learner.recorder.values[-1][-1])
    learner.save("model")
    tests = get_image_files(Path(given.data) / "testing")
    with learner.no_bar():
        _, correct = learner.validate(dl=loaders.test_dl(tests, with_labels=True))
    epochs.report(correct, "fastai", "torch", "torchvision", threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
