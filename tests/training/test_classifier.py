import numpy as np
import pytest

torch = pytest.importorskip("torch")

from visionbus.training.classifier import Classifier, temperature_for  # noqa: E402 (torch may be missing)
from visionbus.vision import Input, softmax  # noqa: E402 (the same)
from visionbus.vision.evaluation import measure  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

CLASSES = tuple("abcd")


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_temperature_undoes_a_factor_on_calibrated_logits(factor):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4)).astype(np.float32)
    labels = (generator.random((20_000, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    temperature = temperature_for(logits * np.float32(factor), labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    assert measure(logits * np.float32(factor / temperature), labels, CLASSES).calibration.error < 0.02


@pytest.mark.parametrize("count", [4, 12, 100, 1000])
def test_where_every_label_is_right_probabilities_are_as_sure_as_their_number_allows(count):
    labels = np.arange(count) % 4
    logits = np.eye(4, dtype=np.float32)[labels]
    surest = softmax(logits / np.float32(temperature_for(logits, labels))).max(axis=1)
    assert surest == pytest.approx(1 - 0.75 / (count + 1), abs=1e-4)


def test_classifier_takes_read_only_images_and_leaves_its_network_in_evaluation_mode():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9))
    network.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    classifier = Classifier(network, CLASSES, Input(2, 2, "L"), temperature=2)
    images = np.frombuffer(bytes(range(4)), np.uint8).reshape(1, 2, 2, 1)
    assert classifier.logits(images).tolist() == [[0, 0.5, 1, 1.5]]
    assert classifier.at(1).logits(images).tolist() == [[0, 1, 2, 3]]
