import math

import pytest

pytest.importorskip("torch")

from visionbus.training.history import Epoch, spoilt

pytestmark = pytest.mark.slow  # torch takes seconds to import


def epoch(number, loss=None, accuracy=None, *, features=False, fit="decide", seed=0):
    shown = Epoch(number, 4, 100, 0.5, 0.8, 2.0, fit, seed, loss, accuracy, features=features)
    return Epoch.from_json(shown.to_json())


HEAD = epoch(1, 0.9, 0.7, features=True), epoch(2, 0.5, 0.8, features=True)


def test_fine_tuning_that_made_the_loss_no_number_is_seen():
    assert spoilt((*HEAD, epoch(3, math.nan, 0.5)), 0)


def test_only_features_of_the_first_phases_count():
    assert not spoilt((epoch(1, 0.4, 0.9), *HEAD, epoch(4, 0.6, 0.75)), 0)
    assert not spoilt((*HEAD, epoch(3, 0.4, 0.85), epoch(4, 0.1, 0.95, features=True), epoch(5, 0.4, 0.85)), 0)


def test_fine_tuning_that_made_the_network_worse_is_seen():
    assert spoilt((*HEAD, epoch(3, 0.8, 0.6), epoch(4, 0.6, 0.75)), 0)


@pytest.mark.parametrize(
    "tuned",
    [
        pytest.param(epoch(4, 0.4, 0.85), id="better"),
        pytest.param(epoch(4, 0.4, 0.79), id="fewer right, but surer of them"),
        pytest.param(epoch(4, 0.6, 0.81), id="more right"),
        pytest.param(epoch(4, 0.6, 0.75, fit="final"), id="another fit"),
        pytest.param(epoch(4, 0.6, 0.75, seed=1), id="another seed"),
    ],
)
def test_fine_tuning_that_did_no_harm_is_not(tuned):
    assert not spoilt((*HEAD, tuned), 0)


def test_no_harm_is_seen_without_a_backbone_or_images_held_out():
    assert not spoilt((), 0)
    assert not spoilt((epoch(1, 0.1, 0.9), epoch(2, 0.5, 0.8)), 0)
    assert not spoilt((epoch(1, features=True), epoch(2)), 0)


def test_time_left_counts_the_fits_that_follow_and_is_not_told_by_computed_features():
    assert epoch(1).left(later=2.0) == 10.0
    assert epoch(1, features=True).left() is None
