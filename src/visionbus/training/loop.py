"""The training loop: fits a network to images by gradient descent."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_fabric import Fabric
from torch import nn

from visionbus.training.errors import DivergedError
from visionbus.training.fitting import Fitting
from visionbus.training.observer import Observer
from visionbus.training.recipe import Phase, Recipe
from visionbus.training.seeds import random_state_of_its_own
from visionbus.training.state import State
from visionbus.vision import Dataset
from visionbus.vision.text import count

_LOOK = 10  # steps between two looks at the clock, which all processes take together
_EPOCH_END = 1.0  # seconds since the state was last kept, so that it is kept again at the end of an epoch


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Control:
    """What a fit is to heed besides its recipe.

    Attributes:
        start: the state in which an earlier fit of the same network, data and recipe was left; None to begin.
        keep: is called with the state every so often, and when the fit is stopped at a step.
        every: the seconds after which the state is kept again; it also is at the end of each epoch, unless that was
            done within the last second.
        stopped: is asked before each step whether it is to be the last one, and while features are computed for it.
        deadline: when the fit must be over, by `time.monotonic`; where it would not be, later steps are left out, and
            the learning rate falls to 0 all the same.
        phases: of the fit; None for those that the network defines, or a single one.
    """

    start: State | None = None
    keep: Callable[[State], None] | None = None
    every: float = 15.0
    stopped: Callable[[], bool] = _never
    deadline: float = math.inf
    phases: Sequence[Phase] | None = None


def fit(
    network: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    fabric: Fabric,
    seed: int,
    observer: Observer,
    validation: Dataset | None = None,
    control: Control | None = None,
) -> bool:
    """Train a network in place on all of a data set.

    Args:
        network: a fresh one; it maps uint8 [n, height, width, channel] to logits, float [n, class].
        dataset: the images and labels.
        recipe: how to train.
        fabric: the devices and the precision; with several devices, each process of its launch calls this.
        seed: of the order of the images and the changes to them.
        observer: is called after each step and each epoch.
        validation: is measured after each epoch. Where the first phase learns from features, and the network is less
            accurate on these images at the end than after that phase, and its loss larger, it is left as it was then.
        control: where to start, and when to stop.

    Returns:
        Whether the fit is finished; if not, it was stopped.

    Raises:
        DivergedError: if the loss of an epoch is infinite, or not a number.
    """
    control = control or Control()
    with random_state_of_its_own(fabric.device):
        fitting = Fitting(
            network,
            dataset,
            recipe,
            fabric=fabric,
            seed=seed,
            validation=validation,
            phases=control.phases,
            start=control.start,
        )
        done = _go_on(fitting, control, observer)
        if fact := fitting.end():
            observer.say(fact)
    return done


def _go_on(fitting: Fitting, control: Control, observer: Observer) -> bool:
    """Take the steps that remain; return whether all were taken."""
    pace, kept = _Pace(control.deadline), time.monotonic()
    while not fitting.schedule.finished:
        if not _prepared(fitting, control, observer):
            break
        stopped, fact = fitting.step(stop=control.stopped())
        if fact:
            observer.say(fact)
        observer.step()
        left = pace.affordable(fitting)
        if left is not None and fitting.shorten(left):
            observer.say(f"to be done in time, this fit ends after {count(left, 'further step')}")
        ended = fitting.epoch_is_over
        if ended:
            epoch = fitting.end_epoch()
            if not math.isfinite(epoch.loss):
                raise DivergedError(
                    f"the loss is {epoch.loss} in epoch {epoch.number}, so nothing can be learnt any more: keep the "
                    "network's values small, by normalised images (Pixels) and batch norms"
                )
            observer.epoch(epoch)
        since = time.monotonic() - kept
        if control.keep and (stopped or since >= control.every or (ended and since >= _EPOCH_END)):
            control.keep(fitting.state())
            kept = time.monotonic()
        if stopped:
            break
    return fitting.schedule.finished


def _prepared(fitting: Fitting, control: Control, observer: Observer) -> bool:
    """Compute what the next step needs, as far as the time suffices; return False if that is stopped."""
    while not fitting.prepared:
        if fact := fitting.prepare():
            observer.say(fact)
        observer.features(*fitting.computed)
        if fitting.agreed(control.stopped()):
            return False
        if fitting.agreed(time.monotonic() >= control.deadline) and fitting.make_do():
            observer.say("the time was over before all features were computed: the other images are not learnt")
    return True


class _Pace:
    """Tells how many more steps can be afforded before a deadline, at the speed of the present phase."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._phase = -1
        self._steps = 0
        self._since = 0.0

    def affordable(self, fitting: Fitting) -> int | None:
        """Return the number of steps, every few steps; None between, and where there is no deadline.

        Steps of a head that learns from features are not left out: they take hardly any time.
        """
        if self._deadline == math.inf or fitting.schedule.finished or fitting.learns_features:
            return None
        now = time.monotonic()
        if fitting.schedule.phase != self._phase:  # the first step of a phase is slower, and not counted
            self._phase, self._steps, self._since = fitting.schedule.phase, 0, now
            return 0 if fitting.alone and now >= self._deadline else None  # several processes look together, later
        self._steps += 1
        if self._steps % _LOOK:
            return None
        return fitting.agreed(max(math.floor((self._deadline - now) * self._steps / (now - self._since)), 0))
