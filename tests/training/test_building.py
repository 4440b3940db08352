"""What image files are fitted to before a network is trained on them."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from visionbus.training.building import NetworkSource, input_for
from visionbus.vision import Input
from visionbus.vision.datasets.choosing import Look

pytestmark = pytest.mark.slow  # torch takes seconds to import

PHOTOGRAPHS = Look(((300, 400), (400, 300)), grey=False)


def test_photographs_are_fitted_to_64_pixels_for_a_network_from_scratch_and_to_160_for_a_backbone(tmp_path):
    assert input_for(NetworkSource(backbone="none"), None)(PHOTOGRAPHS) == Input(64, 64, fit="crop")
    pytest.importorskip("timm")
    weights = Path(tmp_path, "w.pth")
    weights.touch()
    backbone = NetworkSource(backbone="test_efficientnet", weights=weights)
    assert input_for(backbone, None)(PHOTOGRAPHS) == Input(160, 160, fit="crop")
    assert input_for(backbone, None)(Look(((100, 120),), grey=False)) == Input(100, 100, fit="crop")


def test_image_size_that_is_asked_for_is_taken():
    assert input_for(NetworkSource(), 24)(PHOTOGRAPHS) == Input(24, 24, fit="crop")
