"""The rows of the table: who takes part in each, in groups that are measured one after another."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training import kept, schedules
from training.contestants import HERE, OURS, Case, Contestant, last_document, ours, peer, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.kept import Record

    Group = Callable[[Sequence[Record]], list[Contestant]]

TARGET = 0.925  # the accuracy of row b

KERAS, FASTAI, LIGHTNING = "Keras, mnist_convnet", "fastai, mnist_blocks", "Lightning, image_classifier"
PEERS = (KERAS, FASTAI, LIGHTNING)
SCRATCH, KERAS_PHOTOS, FASTAI_PHOTOS = "visionbus, from scratch", "Keras, image_classification_from_scratch", "fastai"
BACKBONE, PROBE = "visionbus, pretrained backbone", "linear probe on the same weights"
PRETRAINED = ("--backbone", "tf_efficientnet_lite0")
BUDGETS = dict.fromkeys(("fashion-mnist", "photos"), (30, 60, 120, 300))  # seconds, by data
DEFAULT, HELP, FIRST_EPOCH, DECODING = "visionbus", "visionbus --help", "first epoch", "decoding"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        title: what it is about.
        groups: each gives contestants, once all of the groups before have been measured.
        data: the kinds of data that it needs.
        peers: whether it needs what the peers need.
        once: whether one measurement is enough, since the program repeats its own.
    """

    title: str
    groups: tuple[Group, ...]
    data: tuple[str, ...] = ()
    peers: bool = False
    once: bool = False


def fixed(*contestants: Contestant) -> Group:
    return lambda _: list(contestants)


def on_fashion_mnist(more: Callable[[Case], list[str]] = lambda _: []) -> Group:
    return fixed(
        peer(KERAS, "keras_fashion.py", "keras", more),
        peer(FASTAI, "fastai_fashion.py", "pictures", more),
        peer(LIGHTNING, "lightning_fashion.py", "torchvision", more),
    )


def for_epochs(epochs: float, data: str = "fashion-mnist", *options: str) -> Contestant:
    """Return ours with a schedule, fitted once, to 54,000 images."""
    return ours(schedules.name(epochs), data, "--epochs", f"{epochs:g}", *options)


def scheduled(records: Sequence[Record], accuracies: Sequence[float]) -> list[Contestant]:
    """Return ours with the least schedule for each accuracy."""
    found = schedules.measured(records)
    return [
        for_epochs(one, "fashion-mnist", "--no-refit")
        for one in sorted({schedules.least(found, a) for a in accuracies})
    ]


def as_accurate(records: Sequence[Record]) -> list[Contestant]:
    """Return ours with the least schedule for each peer's accuracy of row a."""
    measured = [kept.of(records, "a", name) for name in PEERS]
    return scheduled(
        records, [schedules.as_on_test(statistics.mean(one["accuracy"] for one in runs)) for runs in measured if runs]
    )


def same_cpu(case: Case) -> list[str]:
    """Give a peer the processor time that ours took with the same seed."""
    own = [one["cpu"] for one in kept.of(case.records, "photos", SCRATCH) if one["seed"] == case.seed]
    if not own:
        raise schedules.NoScheduleError(f"ours was not measured with seed {case.seed}: first do so, --only visionbus")
    return ["--cpu", f"{own[0]:.1f}"]


def in_time(data: str, budget: float) -> Contestant:
    """Return ours with a time budget; photographs get the pretrained backbone."""
    options = PRETRAINED if data == "photos" else ()
    return ours(budgeted(data, budget), data, "--time-budget", f"{budget:g}s", *options)


def budgeted(data: str, budget: float) -> str:
    """Return the contestant's name."""
    return f"{data} in {budget:g} s"


def plain(name: str, command: Callable[[Case], list[str]], figures: Callable[[str], dict[str, Any]]) -> Contestant:
    return Contestant(name, command, lambda _, text: figures(text))


def decoding_command(case: Case) -> list[str]:
    quick = ["--photos", "2", "--size", "500x375", "--runs", "1"] if case.quick else []
    return [sys.executable, str(HERE.parent / "decoding.py"), *quick]


ROWS = {
    schedules.ROW: Row(
        "ours by the length of its schedule, on 6,000 images of Fashion-MNIST's training part",
        (fixed(*(for_epochs(epochs, "schedules/fashion-mnist.npz") for epochs in schedules.EPOCHS)),),
        ("schedules",),
    ),
    "a": Row(
        "Fashion-MNIST, each peer as documented, and ours to at least the same accuracy",
        (on_fashion_mnist(), as_accurate),
        ("keras", "pictures", "torchvision"),
        peers=True,
    ),
    "b": Row(
        f"Fashion-MNIST until {100 * TARGET:g} % on validation",
        (on_fashion_mnist(lambda _: ["--target", str(TARGET)]), lambda records: scheduled(records, [TARGET])),
        ("keras", "pictures", "torchvision"),
        peers=True,
    ),
    "default": Row(
        "Fashion-MNIST as `visionbus train fashion-mnist` does it",
        (fixed(ours(DEFAULT, "fashion-mnist", measured=True)),),
    ),
    "photos": Row(
        "photographs from scratch, in the same processor time",
        (
            fixed(ours(SCRATCH, "photos", "--backbone", "none")),
            fixed(
                peer(KERAS_PHOTOS, "keras_photos.py", "photos", same_cpu),
                peer(FASTAI_PHOTOS, "fastai_photos.py", "photos", same_cpu),
            ),
        ),
        ("photos",),
        peers=True,
    ),
    "pretrained": Row(
        "the same photographs with pretrained weights",
        (fixed(ours(BACKBONE, "photos", *PRETRAINED), probe(PROBE, "photos")),),
        ("photos",),
    ),
    "budget": Row(
        "`--time-budget`: how long the whole command takes, and what comes of it",
        (fixed(*(in_time(data, budget) for data, budgets in BUDGETS.items() for budget in budgets)),),
        ("photos",),
        once=True,
    ),
    "startup": Row(
        "start-up",
        (
            fixed(
                plain(HELP, lambda _: [*OURS, "--help"], lambda _: {}),
                plain(FIRST_EPOCH, lambda _: [sys.executable, str(HERE / "own" / "first_epoch.py")], last_document),
            ),
        ),
    ),
    "decoding": Row(
        "decoding a folder of photographs into the cache",
        (fixed(plain(DECODING, decoding_command, lambda text: {"text": text.strip()})),),
        once=True,
    ),
}
