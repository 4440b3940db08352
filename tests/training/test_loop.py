import pytest

torch = pytest.importorskip("torch")

from lightning_fabric import Fabric  # noqa: E402 (torch may be missing)

from visionbus.training import precision  # noqa: E402 (the same)
from visionbus.training.augment import Augment  # noqa: E402 (the same)
from visionbus.training.classifier import Classifier  # noqa: E402 (the same)
from visionbus.training.loop import fit  # noqa: E402 (the same)
from visionbus.training.networks import NetworkConfig, build  # noqa: E402 (the same)
from visionbus.training.observer import Observer  # noqa: E402 (the same)
from visionbus.training.precision import choose  # noqa: E402 (the same)
from visionbus.training.recipe import Recipe  # noqa: E402 (the same)
from visionbus.vision import Input, evaluate  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

SPEC = Input(12, 12, "L")


class Notes(Observer):
    """Keeps what it is told."""

    def __init__(self):
        self.steps, self.epochs, self.facts = 0, [], []

    def step(self):
        self.steps += 1

    def epoch(self, epoch):
        self.epochs.append(epoch)

    def say(self, fact):
        self.facts.append(fact)


def trained(dataset, recipe, *, seed=0, observer=None):
    network = build(NetworkConfig.for_images(SPEC, 2), dataset.images, seed=seed)
    fabric = Fabric(accelerator="cpu", devices=1)
    fit(network, dataset, recipe, fabric=fabric, seed=seed, observer=observer or Notes())
    return network


def test_network_learns_what_can_be_learnt_and_tells_of_it(stripes):
    notes = Notes()
    network = trained(stripes(300), Recipe(epochs=4, batch=32, rate=0.05, augment=Augment(shift=1)), observer=notes)
    assert evaluate(Classifier(network, ("upright", "level"), SPEC), stripes(200, seed=1)).accuracy > 0.95
    assert notes.steps == 4 * 10
    assert [epoch.number for epoch in notes.epochs] == [1, 2, 3, 4]
    assert notes.epochs[-1].loss < notes.epochs[0].loss
    assert notes.epochs[-1].accuracy > 0.9
    assert notes.epochs[-1].left() == 0


def test_same_seed_gives_the_same_network_bit_for_bit(stripes):
    data, recipe = stripes(100), Recipe(epochs=2, batch=32)
    one, same, other = (trained(data, recipe, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


def test_steps_share_the_images_evenly_so_that_none_is_left_alone(stripes):
    data, sizes = stripes(65), []
    network = build(NetworkConfig.for_images(SPEC, 2), data.images, seed=0)
    network.register_forward_pre_hook(lambda _network, images: sizes.append(len(images[0])))
    recipe = Recipe(epochs=1, batch=64)
    fit(network, data, recipe, fabric=Fabric(accelerator="cpu", devices=1), seed=0, observer=Notes())
    assert sizes == [33, 32]
    assert recipe.steps(65) == 2


def test_rate_rises_to_its_peak_and_falls_to_nothing():
    recipe = Recipe(rate=0.4, warmup=0.25)
    assert [round(recipe.rate_at(done), 6) for done in (0, 0.125, 0.25, 0.625, 1)] == [0, 0.2, 0.4, 0.2, 0]
    assert Recipe(rate=0.4, warmup=0).rate_at(0) == 0.4


def test_fewer_images_get_smaller_batches_and_more_epochs():
    few, some, many = (Recipe.for_images(images) for images in (300, 3000, 60_000))
    assert (many.epochs, many.batch) == (8, 250)
    assert few.batch < some.batch < many.batch
    assert few.epochs > some.epochs > many.epochs
    assert few.steps(300) >= 500


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 1}, {"warmup": 1.0}, {"warmup": -0.1}])
def test_recipe_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="not"):
        Recipe(**wrong)


@pytest.mark.parametrize(("bf16", "chosen"), [(0.8, "bf16"), (0.95, "fp32"), (1.5, "fp32")])
def test_bf16_is_chosen_where_its_fastest_step_is_faster_by_a_tenth(stripes, bf16, chosen, monkeypatch):
    seconds = {"bf16": [3.0, bf16], "fp32": [9.0, 1.0]}
    monkeypatch.setattr(precision, "_trial", lambda name, *_: seconds[name])
    assert choose("auto", torch.nn.Flatten(), stripes(32), Recipe()) == chosen


def test_precision_is_what_was_asked_and_a_trial_changes_nothing(stripes):
    data = stripes(32)
    network = build(NetworkConfig.for_images(SPEC, 2), data.images, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert choose("fp32", network, data, Recipe()) == "fp32"
    assert choose("bf16", network, data, Recipe()) == "bf16"
    choose("auto", network, data, Recipe(epochs=1))
    assert all((before[name] == value).all() for name, value in network.state_dict().items())  # a copy was tried
