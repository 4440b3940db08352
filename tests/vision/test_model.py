import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionbus.vision import Input, predict, softmax
from visionbus.vision.model import predictions


class Echo:
    """A Model: the logits are the pixels of the first row."""

    classes = ("a", "b", "c")
    input = Input(1, 3, "L")

    def logits(self, batch):
        return batch[:, 0, :, 0].astype(np.float32)


def test_prediction_ranks_all_classes():
    batch = np.array([[[[1], [3], [2]]], [[[9], [0], [0]]]], dtype=np.uint8)
    first, second = predict(Echo(), batch)
    assert first.label == "b"
    assert [name for name, _ in first.probabilities] == ["b", "c", "a"]
    assert first.probability == first.probabilities[0][1] == pytest.approx(0.66524, abs=1e-5)
    assert second.label == "a"


def test_empty_batch_has_no_predictions():
    assert predict(Echo(), np.zeros((0, 1, 3, 1), np.uint8)) == []


def test_equal_logits_are_ranked_in_the_order_of_the_classes():
    (found,) = predictions(np.zeros((1, 3), np.float32), ("a", "b", "c"))
    assert [name for name, _ in found.probabilities] == ["a", "b", "c"]


def test_prediction_holds_plain_numbers_that_json_takes():
    (found,) = predict(Echo(), np.zeros((1, 1, 3, 1), np.uint8))
    assert type(found.probability) is float


@given(arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax_is_a_distribution_that_keeps_the_order(logits):
    probabilities = softmax(logits)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.max(axis=1) == probabilities[np.arange(5), logits.argmax(axis=1)]).all()
