"""A fit in progress: it takes one step after the other, and its state can be kept and loaded."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from visionbus.training.batches import Batches, Features, shared
from visionbus.training.held_out import HeldOut
from visionbus.training.history import Epoch
from visionbus.training.optimizer import optimizer_for, set_rate
from visionbus.training.order import Order
from visionbus.training.recipe import Phase, Recipe, phases_of
from visionbus.training.schedule import Schedule
from visionbus.training.seeds import derived
from visionbus.training.state import State, copied
from visionbus.vision import Dataset


class Fitting:
    """A network, its optimizer, and the position in its recipe.

    With several processes, each has one; all take the same steps, each with its share of every batch.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        *,
        fabric: Fabric,
        seed: int,
        validation: Dataset | None = None,
        phases: Sequence[Phase] | None = None,
        start: State | None = None,
    ) -> None:
        """Begin with a fresh network, or go on where the state `start` was kept; see `fit` for the others."""
        self._network, self._recipe = network, recipe
        self._fabric, self._seed = fabric, seed
        self._phases = phases_of(network) if phases is None else tuple(phases)
        self._learnable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        self._order = Order(len(dataset), recipe, seed)
        self.schedule = Schedule.of(recipe.phase_steps(self._phases, len(dataset)))
        self._parts = 1  # in which each batch is computed; of several processes each computes its share at once
        fabric.to_device(network)
        self._images = Batches(dataset, fabric.device)
        self._held_out = HeldOut(validation, network, self._phases, fabric) if validation else None
        self._entered = -1  # the phase
        self._weights = torch.tensor(recipe.weights, device=fabric.device) if recipe.weights else None
        self._begin_epoch()
        if start is None:
            self._enter_phase()
        else:
            self._load(start)

    @property
    def alone(self) -> bool:
        """Whether this is the only process of the fit."""
        return self._fabric.world_size == 1

    @property
    def epoch_is_over(self) -> bool:
        """Whether the last step was the last one of an epoch, or of a phase."""
        return self._shown > 0 and (self.schedule.step % self._order.per_epoch == 0 or self.schedule.finished)

    @property
    def prepared(self) -> bool:
        """Whether the next step can be taken: the features are computed, where only the head learns."""
        return all(features.complete for features in self._features)

    @property
    def learns_features(self) -> bool:
        """Whether only the head learns, from features, which takes hardly any time."""
        return self._phase.features

    @property
    def computed(self) -> tuple[int, int]:
        """Of how many images the features are computed, and of how many they are wanted."""
        return sum(one.done for one in self._features), sum(one.wanted for one in self._features)

    def prepare(self) -> str:
        """Compute some features, all processes together; return what became of scarce memory, or nothing."""
        features = next(one for one in self._features if not one.complete)
        try:
            features.compute()
        except torch.OutOfMemoryError:
            if features.at_once == 1 or not self.alone:
                raise
            features.at_once //= 2
            self._free()
            return f"out of memory on the device: features are computed of {features.at_once} images at a time"
        return ""

    def make_do(self) -> bool:
        """Learn no more images than those whose features are computed, but a batch at least, and in this phase alone.

        Return whether that changes anything.
        """
        features = self._features[0]
        if features.complete or features.wanted <= self._recipe.batch:
            return False
        self._order.limit(features.want(self._recipe.batch))
        self.schedule = self.schedule.ending_after(*self._recipe.phase_steps((self._phase,), len(self._order.part)))
        return True

    def step(self, *, stop: bool = False) -> tuple[bool, str]:
        """Show the next batch to the network, and let it learn; what it needs is prepared, if it is not yet.

        Returns:
            Whether the first process was told to stop, and what became of memory that did not suffice, or nothing.
        """
        self._enter_phase()
        while not self.prepared:
            self.prepare()
        began, fact = time.monotonic(), ""
        while (figures := self._try_step(stop=stop)) is None:
            self._parts *= 2
            fact = f"out of memory on the device: each batch is computed in {self._parts} parts from now on"
        self._optimizer.zero_grad()
        self._sums += figures[:2]
        self._shown += len(self._chosen())
        self._place = (*self.schedule.epoch(self._order.per_epoch), self._phase.features)
        self.schedule = self.schedule.advanced()
        self._seconds += time.monotonic() - began
        return stop if self.alone else bool(figures[2] > 0), fact

    def shorten(self, left: int) -> bool:
        """Take at most this many further steps; return whether that changes anything."""
        before = self.schedule
        self.schedule = before.shortened(left)
        return self.schedule != before

    def agreed(self, number: int) -> int:
        """Return the first process's number to all of them, which must call this together."""
        return number if self.alone else self._fabric.broadcast(number)

    def end_epoch(self) -> Epoch:
        """Return the figures of the epoch, also those on the images held out; the next one begins."""
        number, of, features = self._place
        loss, right = (self._sums / self._shown).tolist()
        epoch = Epoch(number, of, self._shown, loss, right, self._seconds, features=features)
        if self._held_out and self._fabric.global_rank == 0:
            epoch = self._held_out.measured(epoch, self._network)
            self._learn()
        self._begin_epoch()
        self._enter_phase()
        return epoch

    def state(self) -> State:
        """Return all that a later fit needs to go on in the same way, on the processor; random states are derived."""
        return {
            "network": copied(self._network.state_dict()),
            "optimizer": copied(self._optimizer.state_dict()),
            "schedule": asdict(self.schedule),
            "epoch": {"sums": self._sums.tolist(), "shown": self._shown, "seconds": self._seconds},
            "parts": self._parts,
            "images": self._order.state(),
            "held out": self._held_out and self._held_out.state(),
        }

    def go_to(self, schedule: Schedule) -> None:
        """Go on at another position, with a new optimizer."""
        self.schedule = schedule
        self._entered = -1
        self._enter_phase()

    def end(self) -> str:
        """Leave the network as it was found, but for what it learnt; return what became of that, or nothing.

        Of a fit that is finished, fine-tuning that did harm is undone.
        """
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(name in self._learnable)
        self._network.eval()
        return self._held_out.undo_harm(self._network) if self._held_out and self.schedule.finished else ""

    def _load(self, state: State) -> None:
        """Go on where the state was kept."""
        epoch = state["epoch"]
        self._network.load_state_dict(state["network"])
        self._sums = torch.tensor(epoch["sums"], device=self._fabric.device)
        self._shown, self._seconds = epoch["shown"], epoch["seconds"]
        self._parts = state["parts"]
        if state["images"] is not None:
            self._order.limit(state["images"])
        if self._held_out and state["held out"]:
            self._held_out.load(state["held out"])
        self.go_to(Schedule.from_json(state["schedule"]))
        if not self.schedule.finished:
            self._optimizer.load_state_dict(state["optimizer"])

    def _try_step(self, *, stop: bool) -> Tensor | None:
        """Compute a step's gradients and follow them; return the sums of loss, right answers and wishes to stop.

        None means that the device's memory did not suffice, and that smaller parts may help.
        """
        only = self.schedule.limits[self.schedule.phase] == 1  # a step at the rate of 0 would teach nothing
        rate = self._recipe.rate_at(self._recipe.warmup if only else self.schedule.done) * self._phase.rate
        set_rate(self._optimizer, rate)
        torch.manual_seed(self._derived("network"))
        try:
            figures = self._backward()
        except torch.OutOfMemoryError:
            if self._fabric.world_size > 1 or self._parts * 4 > len(self._chosen()):
                raise
        else:
            self._optimizer.step()
            return self._gathered(figures, stop=stop)
        self._optimizer.zero_grad()
        self._free()
        return None

    def _free(self) -> None:
        """Give memory of the device back that is not used."""
        if self._fabric.device.type == "cuda":
            torch.cuda.empty_cache()

    def _backward(self) -> Tensor:
        """Add up the gradients of this process's share of a batch; return the sums of losses and right answers."""
        chosen, world = self._chosen(), self._fabric.world_size
        generator = torch.Generator().manual_seed(self._derived("augment"))
        figures = torch.zeros(2, device=self._fabric.device)
        for part in chosen[self._fabric.global_rank :: world].tensor_split(self._parts):
            images, truth = self._learnt.take(part)
            if not self._phase.features:
                images = self._recipe.augment(images, generator)
            logits = self._model(images)
            losses = nn.functional.cross_entropy(
                logits, truth, label_smoothing=self._recipe.smoothing, reduction="none"
            )
            if self._weights is not None:
                losses = losses * self._weights[truth]
            self._fabric.backward(losses.sum() * (world / len(chosen)))  # processes take the mean of gradients
            figures += torch.stack([losses.detach().sum(), (logits.detach().argmax(dim=1) == truth).sum()])
        return figures

    def _gathered(self, figures: Tensor, *, stop: bool) -> Tensor:
        """Return loss, right answers and wishes to stop, over all processes."""
        if self.alone:
            return figures
        wish = torch.tensor([float(stop)], device=figures.device)
        total: Tensor = self._fabric.all_reduce(torch.cat([figures, wish]), reduce_op="sum")  # type: ignore[assignment]
        return total

    def _chosen(self) -> Tensor:
        """Return the images of the present step, int64 [n], the same in all processes."""
        return self._order.step(self.schedule.phase, self.schedule.step)

    def _derived(self, what: str) -> int:
        """Return a random number for the present step of this process."""
        return derived(self._seed, what, self.schedule.phase, self.schedule.step, self._fabric.global_rank)

    def _enter_phase(self) -> None:
        """Let what is to learn in the present phase learn, with a new optimizer, if that is not so already."""
        if self.schedule.finished or self.schedule.phase == self._entered:
            return
        self._entered = self.schedule.phase
        self._phase = self._phases[self.schedule.phase]
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(name in self._learnable and name.startswith(self._phase.learns))
        learner: nn.Module = self._network
        self._learnt: Batches | Features = self._images
        self._features: tuple[Features, ...] = ()
        if self._phase.features:
            self._network.eval()
            self._features = self._wanted_features()
            self._learnt = self._features[0]
            learner = self._network.head  # type: ignore[assignment]
        self._optimizer = optimizer_for(learner, self._recipe, adaptive=self._phase.adaptive)
        self._model, _ = self._fabric.setup(learner, self._optimizer)
        self._learn()

    def _learn(self) -> None:
        """Put what learns into training mode, and what does not into evaluation mode: its batch statistics stay."""
        self._model.train()
        for module in self._network.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()

    def _begin_epoch(self) -> None:
        self._sums = torch.zeros(2, device=self._fabric.device)
        self._shown, self._seconds = 0, 0.0

    def _wanted_features(self) -> tuple[Features, ...]:
        """Return whose features the present phase wants: first the images that it shows, then those held out."""
        phase, fabric = self.schedule.phase, self._fabric

        def compute(images: Tensor) -> Tensor:
            with fabric.autocast():
                return self._network.features(images)  # type: ignore[no-any-return,operator]

        together = shared(compute, fabric)
        shown = Features(self._images, together, torch.cat(self._order.epoch(phase, 0)[: self.schedule.limits[phase]]))
        return (shown, self._held_out.features(together)) if self._held_out else (shown,)
