import json

import numpy as np
import pytest

from visionbus.vision import Dataset, DatasetError, Input, evaluate
from visionbus.vision.evaluation import measure, wilson

CLASSES = ("a", "b", "c")


class Oracle:
    """A Model that reads the answer off the first pixel, and is never quite sure."""

    classes = CLASSES
    input = Input(2, 2, "L")
    calls = 0

    def logits(self, batch):
        Oracle.calls += 1
        return np.eye(3, dtype=np.float32)[batch[:, 0, 0, 0]] * 2


def dataset(answers, labels, classes=CLASSES):
    images = np.zeros((len(answers), 2, 2, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = answers
    return Dataset(images, np.array(labels, dtype=np.int64), classes)


def test_figures_of_a_small_case_worked_by_hand():
    found = evaluate(Oracle(), dataset([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2]))
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.images == 6
    assert found.confusion == ((2, 0, 0), (1, 2, 0), (0, 1, 0))
    assert found.per_class["a"].precision == pytest.approx(2 / 3)
    assert found.per_class["a"].recall == 1
    assert found.per_class["b"].f1 == pytest.approx(2 / 3)
    assert (found.per_class["c"].precision, found.per_class["c"].recall, found.per_class["c"].f1) == (0, 0, 0)
    assert [figures.support for figures in found.per_class.values()] == [2, 3, 1]


def test_batch_size_changes_no_figure():
    data = dataset(np.arange(100) % 3, np.arange(100) % 2)
    Oracle.calls = 0
    assert evaluate(Oracle(), data, batch_size=7) == evaluate(Oracle(), data, batch_size=1000)
    assert Oracle.calls == 15 + 1


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidence = np.exp(2) / (np.exp(2) + 2)
    found = evaluate(Oracle(), dataset([0, 0, 0, 0], [0, 0, 1, 1])).calibration
    assert found.error == pytest.approx(confidence - 0.5, abs=1e-6)
    assert [(part.images, part.accuracy) for part in found.bins] == [(4, 0.5)]


def test_calibrated_logits_have_almost_no_calibration_error():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), 50_000)
    labels = (generator.random((50_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    found = measure(np.log(probabilities).astype(np.float32), labels, CLASSES).calibration
    assert found.error < 0.01


def test_certain_and_wrong_has_a_finite_loss():
    found = measure(np.array([[1e4, 0, 0]], np.float32), np.array([1]), CLASSES)
    assert np.isfinite(found.calibration.loss)


def test_json_has_the_promised_keys_and_nothing_that_json_lacks():
    found = evaluate(Oracle(), dataset([0, 1], [0, 2])).to_json()
    assert {"accuracy", "images", "per_class", "confusion", "calibration"} <= set(json.loads(json.dumps(found)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dataset([], []), "has no images"),
        (dataset([0], [0], ("a", "b")), "classes"),
        (Dataset(np.zeros((1, 3, 2, 1), np.uint8), np.zeros(1, np.int64), CLASSES), "shape"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(data, reason):
    with pytest.raises(DatasetError, match=reason):
        evaluate(Oracle(), data)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (8, 10, 0.4902, 0.9433),
        (9336, 10_000, 0.9286, 0.9383),
        (10, 10, 0.7225, 1.0),
        (0, 0, 0, 1),
    ],
)
def test_interval_is_wilsons(right, images, low, high):
    assert wilson(right, images) == pytest.approx((low, high), abs=1e-4)


def test_interval_of_an_evaluation_is_in_its_json():
    found = evaluate(Oracle(), dataset([0, 0, 0, 1], [0, 0, 1, 1]))
    assert found.to_json()["interval"] == found.interval == wilson(3, 4)
