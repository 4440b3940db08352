"""All that a training decides before its first step, as one value: from facts about the data and the user's options."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import Any, Self

from visionbus.training.augment import augment_for
from visionbus.training.history import FitName
from visionbus.training.options import Options, Precision
from visionbus.training.recipe import Phase, Recipe
from visionbus.vision import Input

_ORTHOGONAL = 0.035  # the peak rate of orthogonalised steps; measured with full batches of small images only ...
_EPOCHS = 6.0  # ... in no more epochs than these, which are the default ...
_FURTHER = 0.6  # ... and how many of them a final fit that goes on from what decided needs
_TUNED = 32  # the largest batch where weights are fine-tuned: in so few epochs, larger ones make too few steps
_HALVINGS = 30  # of a range in which the most is looked for that a time budget allows
_FEWEST = 4.0  # epochs of a head, and one of fine-tuning, before fewer images are learnt
_UNEVEN = 3.0  # how often the largest class must outnumber the smallest for classes to be weighted


@dataclass(frozen=True)
class Facts:
    """What a plan depends on besides the options.

    Attributes:
        counts: the number of training images in each class.
        validation: the number of validation images.
        together: the number of images of the final fit; validation may lack some of them, which leak.
        held_out: whether these were held out of training here.
        input: the images that the network takes.
        classes: their names.
        accelerator: "cpu", "cuda" or "mps".
        threads: that compute, on the processor.
    """

    counts: tuple[int, ...]
    validation: int
    together: int
    held_out: bool
    input: Input
    classes: tuple[str, ...]
    accelerator: str = "cpu"
    threads: int = 1

    @property
    def train(self) -> int:
        """The number of training images."""
        return sum(self.counts)


@dataclass(frozen=True)
class Plan:
    """All settings of a training, none left open; JSON keeps them.

    Attributes:
        input: the images that the network takes.
        classes: their names, in the order of the logits.
        network: what is built: `kind`, and what that kind needs.
        recipe: how each network is fitted.
        phases: of each fit, as the network defines them.
        images: how many images each fit has: that which decides, and the final ones. With a time budget they may be
            fewer than there are.
        refit: whether there are final fits, on training and validation together.
        seed: of the first fit.
        repeats: the number of networks that are measured.
        precision: of the arithmetic; "auto" only until a trial has decided it.
        devices: the number of processes.
        accelerator: "cpu", "cuda" or "mps".
        threads: that compute, on the processor, all processes together.
        time_budget: seconds for the whole training, or None.
        options: what the user had decided.
        reserve: seconds of the budget that are kept for all but the fits.
        validation: the number of images that are measured after each epoch of a fit that decides.
        checked: the number of images on which the written file is compared with the network, at most.
        further: the epochs of a final fit, as a share of the recipe's, where it goes on from the network of the fit
            before, which has the same seed; 0 where it begins with a fresh one, and has the recipe's epochs.
    """

    input: Input
    classes: tuple[str, ...]
    network: Mapping[str, object]
    recipe: Recipe
    phases: tuple[Phase, ...]
    images: tuple[int, int]
    refit: bool
    seed: int
    repeats: int
    precision: Precision
    devices: int
    accelerator: str
    threads: int
    time_budget: float | None
    options: Options
    reserve: float = 0.0
    validation: int = 0
    checked: int = 1000
    further: float = 0.0

    @property
    def measured(self) -> FitName:
        """The name of the fits whose networks are measured on the test split, one for each repeat."""
        return "final" if self.refit else "decide"

    @property
    def fits(self) -> tuple[tuple[FitName, int], ...]:
        """The name and the seed of each fit, in their order: the first one decides, the first measured one is kept."""
        fits: list[tuple[FitName, int]] = []
        for seed in range(self.seed, self.seed + self.repeats):
            if seed == self.seed or not self.refit or self.further:
                fits.append(("decide", seed))
            if self.refit:
                fits.append(("final", seed))
        return tuple(fits)

    @property
    def steps(self) -> tuple[int, ...]:
        """The number of steps of each fit."""
        return tuple(sum(self.recipe_of(name).phase_steps(self.phases, self._images(name))) for name, _ in self.fits)

    @property
    def costs(self) -> tuple[float, ...]:
        """How long each fit takes, where a step takes 1: only the machine knows how long that is.

        Computing features, or measuring, takes a third for as many images; learning from features takes nothing.
        """
        return tuple(self._cost(name) for name, _ in self.fits)

    @property
    def untuned(self) -> "Plan":
        """The plan without the phases after those in which a head learns from features."""
        return replace(self, phases=tuple(takewhile(lambda phase: phase.features, self.phases)))

    def goes_on(self, name: FitName) -> bool:
        """Tell whether a fit of this name goes on from the network of the fit before it."""
        return name == "final" and self.further > 0

    def recipe_of(self, name: FitName) -> Recipe:
        """Return how the network of a fit is fitted."""
        return replace(self.recipe, epochs=self.recipe.epochs * self.further) if self.goes_on(name) else self.recipe

    def within(self, seconds: float, step: float) -> "Plan":
        """Return a plan whose fits take at most this long, where a step takes `step` seconds; at least one step each.

        Epochs are whole, unless even one is too long. Where features are computed first, which more epochs of theirs
        do not lengthen, there are a few epochs at least, of fewer images if need be.
        """
        if self.seconds(step) <= seconds:
            return self
        staged = self.phases[0].features
        least = _FEWEST if staged else 1 / self.recipe.steps_per_epoch(self.images[self.refit])
        plan = self
        if least < self.recipe.epochs:
            epochs = _most(lambda epochs: self.for_epochs(epochs).seconds(step) <= seconds, least, self.recipe.epochs)
            plan = self.for_epochs(math.floor(epochs) if epochs >= 1 else epochs)
        if staged and plan.seconds(step) > seconds:
            plan = plan.for_share(_most(lambda share: plan.for_share(share).seconds(step) <= seconds, 0.0, 1.0))
        return plan

    def seconds(self, step: float) -> float:
        """Return how long all fits take, where a step takes `step` seconds."""
        return sum(self.costs) * step

    def for_epochs(self, epochs: float) -> "Plan":
        """Return the plan with so many epochs."""
        return _with_steps(replace(self, recipe=replace(self.recipe, epochs=epochs)))

    def for_share(self, share: float) -> "Plan":
        """Return the plan for a share of the images, a batch at least."""
        train, together, validation = (
            max(math.ceil(images * share), min(images, self.recipe.batch)) for images in (*self.images, self.validation)
        )
        return replace(self, images=(train, together), validation=validation)

    def _images(self, name: FitName) -> int:
        return self.images[name == "final"]

    def _cost(self, name: FitName) -> float:
        """Return the cost of one fit in steps."""
        recipe, images = self.recipe_of(name), self._images(name)
        per_epoch = recipe.steps_per_epoch(images)
        measuring = self.validation / recipe.batch / 3 if name == "decide" else 0.0
        cost = measuring  # for the temperature, in the end
        for phase, limit in zip(self.phases, recipe.phase_steps(self.phases, images), strict=True):
            if phase.features:  # of no more images than are shown; those that are measured are computed once, too
                cost += min(limit, per_epoch) / 3 + measuring
            else:
                cost += limit + math.ceil(limit / per_epoch) * measuring
        return cost

    def to_json(self) -> dict[str, object]:
        """Return the values by their names."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the plan whose `to_json` is `value`, as JSON gives it back."""
        options = Options(**value["options"])
        spec, recipe = Input.from_json(value["input"]), Recipe.from_json(value["recipe"])
        rows = {key: tuple(value[key]) for key in ("classes", "images")}
        phases = tuple(Phase(**{**phase, "learns": tuple(phase["learns"])}) for phase in value["phases"])
        return cls(**{**value, **rows, "input": spec, "recipe": recipe, "phases": phases, "options": options})


def make_plan(facts: Facts, options: Options, network: Mapping[str, object], phases: Sequence[Phase]) -> Plan:
    """Decide what can be decided without trying anything.

    Args:
        facts: what is known.
        options: what the user has decided.
        network: what is built, as JSON values.
        phases: in which it is fitted.

    Raises:
        ValueError: if there are more devices than a batch can be shared among.
    """
    refit = facts.held_out if options.refit is None else options.refit
    tuned = any(phase.adaptive for phase in phases)
    recipe = Recipe.for_images(facts.train, most=_TUNED if tuned else Recipe.batch)
    if _suits_orthogonal(network) and (short := Recipe.for_images(facts.train, least=_EPOCHS)).epochs <= _EPOCHS:
        recipe = short
    recipe = replace(
        recipe,
        epochs=options.epochs or recipe.epochs,
        augment=augment_for(options.augment, facts.input),
        weights=class_weights(facts.counts),
    )
    if options.devices > recipe.batch // 4:
        raise ValueError(
            f"{options.devices} devices cannot share batches of {recipe.batch} images: use at most {recipe.batch // 4}"
        )
    plan = Plan(
        input=facts.input,
        classes=facts.classes,
        network=network,
        recipe=recipe,
        phases=tuple(phases),
        images=(facts.train, facts.together),
        validation=facts.validation,
        refit=refit,
        seed=options.seed,
        repeats=options.repeats,
        precision=options.precision,
        devices=options.devices,
        accelerator=facts.accelerator,
        threads=facts.threads,
        time_budget=options.time_budget,
        options=options,
    )
    return _with_steps(plan)


def _with_steps(plan: Plan) -> Plan:
    """Return the plan with orthogonalised steps where they were seen to gain, and with plain ones elsewhere.

    With such steps final fits go on from the network that decided; with plain ones, where that was not tried, they
    begin anew.
    """
    recipe = plan.recipe
    gains = _suits_orthogonal(plan.network) and recipe.batch == Recipe.batch and recipe.epochs <= _EPOCHS
    recipe = replace(recipe, orthogonal=_ORTHOGONAL if gains else 0.0)
    return replace(plan, recipe=recipe, further=_FURTHER if gains and plan.refit else 0.0)


def _suits_orthogonal(network: Mapping[str, object]) -> bool:
    """Tell whether all convolutions stand before a batch norm, as in ours; images must not be halved first."""
    return network.get("kind") == "small" and not network.get("stem")


def _most(fits: Callable[[float], bool], least: float, most: float) -> float:
    """Return nearly the largest number that fits, or the least one."""
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least


def class_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return a factor for the loss of each class, if the largest is more than three times the smallest; else none.

    A class's factor falls with the root of its number of images: rare classes are heard, but not made common. The mean
    over the images is 1; a class without images has 1.
    """
    present = [count for count in counts if count]
    if max(present) <= _UNEVEN * min(present):
        return ()
    mean = sum(math.sqrt(count) for count in present) / sum(present)
    return tuple(1 / math.sqrt(count) / mean if count else 1.0 for count in counts)
