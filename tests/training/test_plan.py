import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from visionbus.training.errors import CheckpointError
from visionbus.training.options import Options
from visionbus.training.plan import Facts, Plan, class_weights, make_plan
from visionbus.training.recipe import Phase, Recipe
from visionbus.vision import Input

pytestmark = pytest.mark.slow  # torch takes seconds to import

FASHION = Facts((5400,) * 10, 6000, 60_000, held_out=True, input=Input(28, 28, "L"), classes=tuple("abcdefghij"))


ONE = (Phase(),)


def planned(facts=FASHION, phases=ONE, **options):
    return make_plan(facts, Options(**options), {"kind": "small"}, phases)


def few(*counts, side=28, held_out=True):
    return Facts(counts, 10, sum(counts) + 10, held_out, Input(side, side), tuple("abcdefghij"[: len(counts)]))


def test_fashion_mnist_has_the_recipe_that_was_measured_for_it():
    recipe = planned().recipe
    assert (recipe.epochs, recipe.batch, recipe.rate, recipe.orthogonal, recipe.weights) == (6, 250, 0.1, 0.035, ())
    assert (recipe.augment.flip, recipe.augment.shift, recipe.augment.zoom, recipe.augment.colour) == (True, 0, 1, 0)


@pytest.mark.parametrize(
    ("facts", "epochs", "network", "orthogonal"),
    [
        (FASHION, 3, {"kind": "small", "stem": 0}, True),
        (FASHION, None, {"kind": "small", "stem": 0}, True),
        (FASHION, 7, {"kind": "small", "stem": 0}, False),
        (few(11_000, 11_000), None, {"kind": "small", "stem": 0}, False),
        (FASHION, 3, {"kind": "small", "stem": 32}, False),
        (FASHION, 3, {"kind": "backbone"}, False),
        (FASHION, 3, {"kind": "own", "own": "mine"}, False),
        (few(2000, 2000), 3, {"kind": "small", "stem": 0}, False),
    ],
)
def test_steps_are_orthogonalised_where_that_was_seen_to_gain(facts, epochs, network, orthogonal):
    assert (make_plan(facts, Options(epochs=epochs), network, ONE).recipe.orthogonal > 0) is orthogonal


def test_steps_are_orthogonalised_where_a_time_budget_makes_the_training_short():
    whole = planned(epochs=9)
    assert whole.within(sum(whole.steps) / 1.2, 1.0).recipe.orthogonal == 0
    assert whole.within(sum(whole.steps) / 4, 1.0).recipe.orthogonal > 0


@pytest.mark.parametrize(
    ("images", "network", "epochs"),
    [(60_000, "small", 6), (26_000, "small", 6), (22_000, "small", 8), (60_000, "backbone", 8), (6000, "small", 25)],
)
def test_many_small_images_are_shown_less_often(images, network, epochs):
    assert make_plan(few(images // 2, images // 2), Options(), {"kind": network}, ONE).recipe.epochs == epochs


def test_uneven_classes_are_weighted():
    assert planned(few(900, 100)).recipe.weights == class_weights((900, 100)) != ()


def test_final_fit_goes_on_from_what_decided_where_that_was_measured():
    plan = planned(repeats=2)
    assert plan.fits == (("decide", 0), ("final", 0), ("decide", 1), ("final", 1))
    assert [plan.goes_on(name) for name, _ in plan.fits] == [False, True] * 2
    assert plan.steps == (6 * 216, 864) * 2
    assert planned(repeats=2, refit=False).fits == (("decide", 0), ("decide", 1))
    assert planned(repeats=2, refit=False).further == 0


def test_final_fit_is_as_long_as_what_decided_where_it_begins_anew():
    plan = planned(epochs=8, repeats=2)
    assert plan.fits == (("decide", 0), ("final", 0), ("final", 1))
    assert plan.steps == (8 * 216, 8 * 240, 8 * 240)
    assert not any(plan.goes_on(name) for name, _ in plan.fits)


def test_json_gives_it_back():
    phases = (Phase(2, 0.5, ("head.",), features=True), Phase(adaptive=True))
    plan = planned(few(90, 10), phases=phases, repeats=2, time_budget=60.0)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_json_of_a_plan_from_before_adaptive_phases_is_still_read():
    plan = planned()
    text = json.dumps(plan.to_json())
    assert (older := text.replace(', "adaptive": false', "")) != text
    assert Plan.from_json(json.loads(older)) == plan


def test_fine_tuning_has_small_batches():
    facts, tuned = few(3000, 3000), (Phase(features=True), Phase(adaptive=True))
    assert (planned(facts).recipe.batch, planned(facts, phases=tuned).recipe.batch) == (250, 32)
    assert planned(few(40, 40), phases=tuned).recipe.batch == 16


def test_made_validation_split_is_fitted_too_and_a_given_one_is_not():
    assert planned().fits == (("decide", 0), ("final", 0))
    assert planned(few(50, 50, held_out=False), repeats=2, seed=4).fits == (("decide", 4), ("decide", 5))
    assert planned(few(50, 50, held_out=False), refit=True, repeats=2).fits == (
        ("decide", 0),
        ("final", 0),
        ("final", 1),
    )
    assert planned(refit=False).fits == (("decide", 0),)


def test_options_of_a_training_that_goes_on_are_those_that_it_began_with():
    earlier = Options(epochs=5, seed=3, time_budget=60)
    for same in (Options(), earlier, Options(seed=3), Options(time_budget=30)):
        same.check_against(earlier)
    with pytest.raises(CheckpointError, match="planned with epochs 5, not 6"):
        Options(epochs=6, seed=3).check_against(earlier)
    with pytest.raises(CheckpointError, match="planned without image size"):
        Options(image_size=96).check_against(earlier)


def test_options_are_heeded():
    plan = planned(epochs=2.5, augment="none", seed=7, repeats=3, devices=2, precision="bf16", time_budget=9.0)
    assert (plan.recipe.epochs, plan.recipe.augment.flip, plan.seed, plan.repeats) == (2.5, False, 7, 3)
    assert (plan.devices, plan.precision, plan.time_budget) == (2, "bf16", 9.0)


def test_larger_images_are_changed_in_more_ways():
    assert planned(few(50, 50, side=32)).recipe.augment.zoom == 1
    assert planned(few(50, 50, side=64)).recipe.augment.zoom < 1
    assert planned(few(50, 50, side=64), augment="flip").recipe.augment.zoom == 1


def test_classes_are_weighted_only_where_they_are_uneven():
    assert class_weights((300, 100)) == ()
    assert class_weights((5, 0, 5)) == ()
    weights = class_weights((900, 0, 100))
    assert weights[2] == pytest.approx(3 * weights[0])
    assert (900 * weights[0] + 100 * weights[2]) / 1000 == pytest.approx(1)


@given(st.floats(0.001, 2000), st.floats(0.001, 1), st.booleans(), st.booleans(), st.integers(1, 3))
def test_time_budget_gives_what_fits_into_it_and_something_at_least(seconds, step, staged, refit, repeats):
    phases = (Phase(2, 1, ("head.",), features=True), Phase(0.5)) if staged else (Phase(),)
    plan = planned(phases=phases, refit=refit, repeats=repeats)
    within = plan.within(seconds, step)
    assert all(steps >= 1 for steps in within.steps)
    assert within.recipe.epochs <= plan.recipe.epochs
    least = plan.for_share(0).for_epochs(4) if staged else plan.for_epochs(1e-9)
    rounding = 3 * step * repeats  # a step at least in each phase
    assert sum(within.costs) * step <= max(seconds, sum(least.costs) * step) + rounding
    assert within.recipe.epochs < 1 or within.recipe.epochs % 1 == 0
    assert not staged or within.recipe.epochs >= 4 or within == plan
    assert staged or within.images == plan.images


def test_time_budget_too_short_for_all_features_leaves_images_out():
    plan = planned(phases=(Phase(1, 1, ("head.",), features=True), Phase(0.25)))
    within = plan.within(60.0, 1.0)  # of 240 / 3 steps for the features of a final fit alone
    assert within.recipe.epochs == 4
    assert sum(within.costs) == pytest.approx(60, rel=0.1)
    assert within.images[0] / plan.images[0] == pytest.approx(within.images[1] / plan.images[1], rel=0.05)
    assert within.validation < plan.validation


def test_time_that_is_over_leaves_a_plan_whose_fits_cannot_be_shorter():
    plan = planned(few(8, 8), (Phase(1, 1, ("head.",), features=True), Phase(0.25)), epochs=1, refit=False)
    assert plan.within(0.0, 1.0).recipe == plan.recipe
    assert plan.within(0.0, 1.0).steps == plan.steps


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": float("nan")},
        {"epochs": 1e308},
        {"seed": -1},
        {"seed": 2**63},
        {"name": ""},
        {"repeats": 0},
        {"repeats": 101},
        {"devices": 0},
        {"time_budget": 0},
        {"precision": "fp8"},
        {"augment": "much"},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must|known"):
        Options(**wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch", 1),
        ("rate", 0),
        ("rate", math.inf),
        ("warmup", 1),
        ("momentum", 1),
        ("smoothing", -0.1),
        ("decay", math.nan),
        ("orthogonal", -0.1),
    ],
)
def test_recipe_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Recipe(**{name: value})


def test_more_devices_than_a_batch_can_be_shared_among_are_refused():
    with pytest.raises(ValueError, match="at most 4"):
        planned(few(50, 50), devices=5)
