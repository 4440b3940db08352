"""Fashion-MNIST by Lightning, as its Fabric example image_classifier trains MNIST: Adadelta, batches of 64, 14 epochs.

That example measures on the test images after each epoch. Here 5,000 training images are held out for that, as another
example of Lightning's does, and the test images are seen once.
"""

import torch
from lightning.fabric import Fabric, seed_everything
from peer import Epochs, options
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset, random_split
from torchmetrics.classification import Accuracy
from torchvision import transforms
from torchvision.datasets import FashionMNIST

BATCH = 64


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * 12 * 12, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
        nn.LogSoftmax(dim=1),
    )


def measured(model: nn.Module, loader: DataLoader) -> float:
    right = Accuracy(task="multiclass", num_classes=10)
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            right(model(images), labels)
    return float(right.compute())


def train(fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader) -> None:
    """Show each image once."""
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = functional.nll_loss(model(images), labels)
        fabric.backward(loss)
        optimizer.step()


def main() -> None:
    given = options()
    fabric = Fabric(accelerator="cpu")
    seed_everything(given.seed)
    epochs = Epochs(given, documented=14)
    pixels = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    whole = FashionMNIST(given.data, train=True, transform=pixels)
    parts = random_split(whole, [55_000, 5_000], generator=torch.Generator().manual_seed(given.seed))
    tests = FashionMNIST(given.data, train=False, transform=pixels)
    if given.quick:
        parts = [Subset(part, range(500)) for part in parts]
    loaders = fabric.setup_dataloaders(*(DataLoader(part, batch_size=BATCH) for part in (*parts, tests)))
    model = network()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    model, optimizer = fabric.setup(model, optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    while not epochs.enough:
        train(fabric, model, optimizer, loaders[0])
        schedule.step()
        epochs.add(measured(model, loaders[1]))
    fabric.save("model.pt", model.state_dict())
    accuracy = measured(model, loaders[2])
    epochs.report(accuracy, "lightning", "torch", "torchvision", threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
