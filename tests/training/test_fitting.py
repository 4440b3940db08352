"""What a fit does at each step: phases, memory that does not suffice, deadlines, weights of classes."""

import math
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lightning_fabric import Fabric  # noqa: E402 (torch may be missing)

from visionbus.training import Augment, Control, Phase, Recipe, fit  # noqa: E402 (the same)
from visionbus.training.fitting import Fitting  # noqa: E402 (the same)
from visionbus.training.networks import NetworkConfig, build  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import


class Notes:
    def __init__(self):
        self.steps, self.epochs, self.facts, self.computed = 0, [], [], []

    def features(self, done, of):
        self.computed.append((done, of))

    def step(self):
        self.steps += 1

    def epoch(self, epoch):
        self.epochs.append(epoch)

    def say(self, fact):
        self.facts.append(fact)


class Staged(torch.nn.Module):
    """A body with a batch norm and dropout, and a head, that are fitted one after the other."""

    def __init__(self, plan=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(144, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout()
        )
        self.head = torch.nn.Linear(8, 2)
        self.plan = plan if plan is not None else [Phase(1, 1, ("head.",), features=True), Phase(1, 0.1)]
        self.shown = 0

    def features(self, images):
        self.shown += len(images)
        return self.body(images.float().flatten(1) / 255)

    def forward(self, images):
        return self.head(self.features(images))

    def phases(self):
        return self.plan


class Greedy(torch.nn.Module):
    """A network for which memory never suffices above a number of images at a time."""

    def __init__(self, most):
        super().__init__()
        torch.manual_seed(0)
        self.most, self.sizes = most, []
        self.head = torch.nn.Linear(144, 2)

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(images))
        return self.head(images.float().flatten(1) / 255)


def fabric():
    return Fabric(accelerator="cpu", devices=1)


def fitted(network, data, recipe, *, control=None, validation=None):
    notes = Notes()
    done = fit(network, data, recipe, fabric=fabric(), seed=0, observer=notes, control=control, validation=validation)
    return done, notes


@pytest.mark.parametrize(
    ("augment", "as_they_are"), [(Augment(flip=False), True), (Augment(flip=False, shift=1), False)]
)
def test_images_are_learnt_as_the_recipe_changes_them(stripes, augment, as_they_are):
    data, network, seen = stripes(40), Greedy(40), set()
    network.register_forward_pre_hook(lambda _, given: seen.update(image.numpy().tobytes() for image in given[0]))
    fitted(network, data, Recipe(epochs=1, batch=20, augment=augment))
    assert (seen == {image.tobytes() for image in data.images}) is as_they_are


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_features_are_computed_once_and_the_body_stays_while_the_head_learns(stripes):
    network = Staged([Phase(5, 1, ("head.",), features=True)])
    before, data = weights(network), stripes(60)
    _, notes = fitted(network, data, Recipe(epochs=1, batch=20))
    assert network.shown == 60  # in five epochs
    after = weights(network)
    assert [name for name in before if (before[name] != after[name]).any()] == ["head.weight", "head.bias"]
    assert [epoch.number for epoch in notes.epochs] == [1, 2, 3, 4, 5]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_features_are_computed_of_no_more_images_than_are_shown(stripes):
    data = stripes(600)
    whole, part = Staged(), Staged()
    fitted(whole, data, Recipe(epochs=1, batch=60))
    _, notes = fitted(part, data, Recipe(epochs=0.5, batch=60))
    assert (whole.shown, part.shown) == (600 + 600, 300 + 300)  # each then learns all it is shown
    assert notes.computed == [(250, 300), (300, 300)]
    assert [epoch.images for epoch in notes.epochs] == [300, 300]


def test_features_of_images_held_out_are_computed_once_too(stripes):
    network = Staged([Phase(5, 1, ("head.",), features=True), Phase(1, 0.1)])
    _, notes = fitted(network, stripes(60), Recipe(epochs=1, batch=20), validation=stripes(40, seed=1))
    assert network.shown == (40 + 60) + (40 + 60)  # the others when the body learns, too
    assert notes.computed == [(60, 100), (100, 100)]
    held_out = stripes(40, seed=1)
    right = (network(torch.from_numpy(held_out.images)).argmax(1).numpy() == held_out.labels).mean()
    assert notes.epochs[-1].validation_accuracy == pytest.approx(right)


def test_phases_of_features_may_follow_each_other(stripes):
    network = Staged([Phase(1, 1, ("head.",), features=True), Phase(1, 0.1, ("head.",), features=True)])
    _, notes = fitted(network, stripes(60), Recipe(epochs=2, batch=20), validation=stripes(40, seed=1))
    assert [epoch.features for epoch in notes.epochs] == [True] * 4
    assert network.shown == 2 * (40 + 60)


def test_phase_of_features_may_follow_another_one_and_nothing_is_put_back_then(stripes):
    network = Staged([Phase(0.5, 0.1), Phase(1, 1, ("head.",), features=True), Phase(0.5, 300)])
    _, notes = fitted(network, stripes(200), Recipe(epochs=2, batch=20), validation=stripes(100, seed=1))
    assert [epoch.features for epoch in notes.epochs] == [False, True, True, False]
    assert notes.epochs[-1].validation_accuracy < notes.epochs[-2].validation_accuracy
    assert notes.facts == []


def test_time_that_is_over_leaves_features_out_and_steps_with_them(stripes):
    class Slow(Staged):
        def features(self, images):
            time.sleep(len(images) / 1000)
            return super().features(images)

    network, data, before = Slow(), stripes(2000), weights(Staged())
    control = Control(deadline=time.monotonic() + 0.6)  # of two seconds that all features take
    done, notes = fitted(network, data, Recipe(epochs=4, batch=50), validation=stripes(500, seed=1), control=control)
    assert done
    assert notes.facts == ["the time was over before all features were computed: the other images are not learnt"]
    computed = notes.computed[-1][0] - 500
    assert computed in range(250, 1500, 250)
    assert [(epoch.images, epoch.features) for epoch in notes.epochs] == [(computed, True)] * 4
    after = weights(network)
    assert {name for name in before if (before[name] != after[name]).any()} == {"head.weight", "head.bias"}
    assert notes.epochs[-1].validation_loss < notes.epochs[0].validation_loss


def test_single_step_teaches_something(stripes):
    network, before = Greedy(99), weights(Greedy(99))
    fitted(network, stripes(60), Recipe(epochs=1, batch=60))
    assert (weights(network)["head.weight"] != before["head.weight"]).any()


def test_network_without_phases_is_refused(stripes):
    with pytest.raises(ValueError, match="return at least one Phase"):
        fitted(Staged(()), stripes(60), Recipe(epochs=1, batch=60))


def test_fit_of_part_of_the_features_goes_on_with_the_same_part(stripes):
    data, recipe, kept = stripes(600), Recipe(epochs=3, batch=50), []
    steps = iter(range(1000))
    control = Control(keep=kept.append, every=0, deadline=0.0, stopped=lambda: next(steps) == 7)
    whole, network, again = Staged(), Staged(), Staged()
    _, notes = fitted(whole, data, recipe, control=Control(deadline=0.0))
    assert [epoch.images for epoch in notes.epochs] == [250] * 3
    assert not fitted(network, data, recipe, control=control)[0]
    assert fitted(again, data, recipe, control=Control(start=kept[-1]))[0]
    assert all((value == weights(again)[name]).all() for name, value in weights(whole).items())


def harmful():
    """Return a network whose fine-tuning, at such a rate, spoils what its head has learnt in 80 steps."""
    return Staged([Phase(4, 1, ("head.",), features=True), Phase(0.5, 300)])


def test_fine_tuning_that_did_harm_is_undone(stripes):
    data, held_out, recipe = stripes(200), stripes(100, seed=1), Recipe(epochs=2, batch=20)
    network, before = harmful(), weights(Staged())
    _, notes = fitted(network, data, recipe, validation=held_out)
    head, last = notes.epochs[7], notes.epochs[-1]
    assert last.validation_accuracy < head.validation_accuracy
    told = f"{head.validation_accuracy:.4f} to {last.validation_accuracy:.4f}"
    assert notes.facts == [
        f"fine-tuning made it worse on the images held out, {told}: the body stays as it was; more epochs may help"
    ]
    after = weights(network)
    assert {name for name in before if (before[name] != after[name]).any()} == {"head.weight", "head.bias"}
    right = (network.eval()(torch.from_numpy(held_out.images)).argmax(1).numpy() == held_out.labels).mean()
    assert right == pytest.approx(head.validation_accuracy)


def test_fine_tuning_that_did_harm_is_kept_where_nothing_says_so(stripes):
    network, before = harmful(), weights(Staged())
    _, notes = fitted(network, stripes(200), Recipe(epochs=2, batch=20))
    assert notes.facts == []
    assert (weights(network)["body.0.weight"] != before["body.0.weight"]).any()


@pytest.mark.parametrize("stop", [3, 80, 81, 88, 90])
def test_fine_tuning_that_did_harm_is_undone_in_a_fit_that_goes_on_too(stripes, stop):
    data, held_out, recipe = stripes(200), stripes(100, seed=1), Recipe(epochs=2, batch=20)
    whole, network, again, kept = harmful(), harmful(), harmful(), []
    fitted(whole, data, recipe, validation=held_out)
    control = Control(keep=kept.append, stopped=lambda: len(kept) >= stop - 1, every=0)
    fitted(network, data, recipe, validation=held_out, control=control)
    assert len(kept) == stop
    done, notes = fitted(again, data, recipe, validation=held_out, control=Control(start=kept[-1]))
    assert done
    assert notes.facts[-1].startswith("fine-tuning made it worse")
    assert all((value == weights(again)[name]).all() for name, value in weights(whole).items())


def test_time_left_is_told_from_the_first_epoch_that_all_others_are_like(stripes):
    _, notes = fitted(Staged(), stripes(60), Recipe(epochs=2, batch=20))
    first, second, third, last = notes.epochs
    assert (first.left(2), second.left(2)) == (None, None)
    assert third.left(2) == pytest.approx(3 * third.seconds)
    assert last.left(0.5) == pytest.approx(0.5 * last.seconds)


def test_what_does_not_learn_in_a_phase_keeps_its_batch_statistics(stripes):
    network = Staged([Phase(1, 1, ("head.",))])
    before = weights(network)
    fitted(network, stripes(60), Recipe(epochs=1, batch=20))
    after = weights(network)
    assert [name for name in before if (before[name] != after[name]).any()] == ["head.weight", "head.bias"]


def test_phases_follow_each_other_and_a_later_one_lets_all_learn(stripes):
    network, kept = Staged(), []
    control = Control(keep=kept.append, every=0)
    fitted(network, stripes(60), Recipe(epochs=2, batch=20), control=control)
    assert [(state["schedule"]["phase"], state["schedule"]["step"]) for state in kept][5:8] == [(1, 0), (1, 1), (1, 2)]
    body = "body.0.weight"
    assert (kept[5]["network"][body] == kept[0]["network"][body]).all()
    assert (kept[6]["network"][body] == kept[0]["network"][body]).all()  # the rate is 0 in the first step
    assert (kept[7]["network"][body] != kept[0]["network"][body]).any()


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("stop", [2, 6, 7])
def test_phases_go_on_from_any_state(stripes, stop, adaptive):
    data, recipe = stripes(60), Recipe(epochs=2, batch=20)
    plan = [Phase(1, 1, ("head.",), features=True), Phase(1, 0.1, adaptive=adaptive)]
    whole = Staged(plan)
    fitted(whole, data, recipe)
    kept, network = [], Staged(plan)
    done, _ = fitted(
        network, data, recipe, control=Control(keep=kept.append, stopped=lambda: len(kept) >= stop, every=0)
    )
    assert not done
    again = Staged(plan)
    assert fitted(again, data, recipe, control=Control(start=kept[-1]))[0]
    assert all((value == weights(again)[name]).all() for name, value in weights(whole).items())
    assert again.shown == (60 + 120 if stop == 2 else 20 * (11 - stop))  # features are computed once, and where needed


def test_memory_that_does_not_suffice_halves_what_is_computed_at_once_and_says_so(stripes):
    data, recipe = stripes(64), Recipe(epochs=2, batch=32)
    network, free = Greedy(10), Greedy(1000)
    _, notes = fitted(network, data, recipe)
    fitted(free, data, recipe)
    assert notes.facts == [
        f"out of memory on the device: each batch is computed in {n} parts from now on" for n in (4,)
    ]
    assert set(network.sizes) == {8}
    assert torch.allclose(network.head.weight, free.head.weight, atol=1e-6)  # the same steps all the same


class Frugal(Staged):
    """A body for which memory never suffices above a number of images at a time."""

    def __init__(self, most):
        super().__init__([Phase(1, 1, ("head.",), features=True)])
        self.most, self.sizes = most, []

    def features(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(images))
        return super().features(images)


def test_memory_that_does_not_suffice_for_features_halves_what_is_computed_at_once_and_says_so(stripes):
    data, recipe = stripes(300), Recipe(epochs=1, batch=32)
    network, free = Frugal(100), Frugal(1000)
    _, notes = fitted(network, data, recipe)
    fitted(free, data, recipe)
    assert notes.facts == [
        f"out of memory on the device: features are computed of {n} images at a time" for n in (125, 62)
    ]
    assert (network.sizes, free.sizes) == ([62, 62, 62, 62, 52], [250, 50])
    assert torch.allclose(network.head.weight, free.head.weight, atol=1e-6)
    with pytest.raises(torch.OutOfMemoryError):
        fitted(Frugal(0), data, recipe)


def test_stop_is_heard_while_features_are_computed_and_later_it_goes_on_as_if_there_had_been_none(stripes):
    data, recipe, kept = stripes(600), Recipe(epochs=1, batch=60), []
    network, whole = Staged(), Staged()
    control = Control(keep=kept.append, every=0, stopped=lambda: network.shown >= 250)
    done, notes = fitted(network, data, recipe, control=control)
    assert (done, notes.steps, kept, network.shown) == (False, 0, [], 250)
    fitted(whole, data, recipe)
    again = Staged()
    assert fitted(again, data, recipe)[0]
    assert all((value == weights(again)[name]).all() for name, value in weights(whole).items())


def test_memory_that_does_not_suffice_for_a_few_images_is_an_error(stripes):
    with pytest.raises(torch.OutOfMemoryError):
        fitted(Greedy(1), stripes(64), Recipe(epochs=1, batch=32))


def test_deadline_leaves_steps_out_and_the_rate_still_falls_to_nothing(stripes):
    class Slow(Greedy):
        def forward(self, images):
            time.sleep(0.004)
            return super().forward(images)

    began = time.monotonic()
    done, notes = fitted(Slow(99), stripes(64), Recipe(epochs=5000, batch=32), control=Control(deadline=began + 0.5))
    assert done
    assert "to be done in time, this fit ends after" in notes.facts[0]
    assert notes.steps < 1000


def test_rate_has_fallen_at_the_end_of_a_shortened_fit(stripes):
    fitting = Fitting(Greedy(99), stripes(64), Recipe(epochs=50, batch=32), fabric=fabric(), seed=0)
    for _ in range(30):
        fitting.step()
    assert fitting.shorten(6)
    assert not fitting.shorten(6)
    rates = []
    while not fitting.schedule.finished:
        rates.append(Recipe().rate_at(fitting.schedule.done))
        fitting.step()
    assert len(rates) == 6
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.02


def test_validation_is_measured_after_each_epoch_and_nothing_is_learnt_from_it(stripes):
    data, held_out = stripes(60), stripes(40, seed=1)
    config = NetworkConfig(2, widths=(8,))
    one, other = (build(config, data.images, seed=0) for _ in range(2))
    _, notes = fitted(one, data, Recipe(epochs=2, batch=20), validation=held_out)
    fitted(other, data, Recipe(epochs=2, batch=20))
    assert all((value == weights(other)[name]).all() for name, value in weights(one).items())
    logits = one(torch.from_numpy(held_out.images)).detach()
    right = (logits.argmax(1).numpy() == held_out.labels).mean()
    assert notes.epochs[-1].validation_accuracy == pytest.approx(right)
    assert notes.epochs[-1].validation_loss == pytest.approx(
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(held_out.labels)).item(), rel=1e-5
    )


def test_weights_of_classes_count_in_the_loss(stripes):
    data = stripes(60)
    rare = type(data)(data.images, np.zeros(60, np.int64), data.classes)
    _, even = fitted(Greedy(99), rare, Recipe(epochs=0.5, batch=30, rate=1e-9))
    _, heavy = fitted(Greedy(99), rare, Recipe(epochs=0.5, batch=30, rate=1e-9, weights=(3.0, 1.0)))
    assert heavy.epochs[0].loss == pytest.approx(3 * even.epochs[0].loss, rel=1e-4)


def test_part_of_an_epoch_shows_a_part_of_the_images(stripes):
    _, notes = fitted(Greedy(99), stripes(60), Recipe(epochs=0.5, batch=15))
    assert [(epoch.images, epoch.of) for epoch in notes.epochs] == [(30, 1)]
    assert math.isfinite(notes.epochs[0].loss)


def test_torch_s_own_random_state_is_left_alone(stripes):
    network, data = Greedy(99), stripes(60)
    state = torch.random.get_rng_state()
    fitted(network, data, Recipe(epochs=1, batch=15))
    assert (torch.random.get_rng_state() == state).all()
