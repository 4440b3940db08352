import numpy as np
import pytest

torch = pytest.importorskip("torch")

from visionbus.training.networks import Network, NetworkConfig, build  # noqa: E402 (torch may be missing)
from visionbus.vision import Input  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import


def lived_in(config, side=28):
    """Return a network whose batch norms have statistics, and images."""
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, config.channels), dtype=np.uint8)
    network = build(config, images, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.1, 3, generator=generator)
            module.bias.data.normal_(generator=generator)
    return network.eval(), torch.from_numpy(images)


@pytest.mark.parametrize(
    ("side", "stages"), [(4, 1), (8, 1), (14, 2), (28, 3), (32, 3), (64, 4), (65, 3), (128, 4), (224, 5)]
)
def test_number_of_stages_follows_the_size(side, stages):
    config = NetworkConfig.for_images(Input(side, side + 3), 4)
    assert len(config.widths) == stages
    assert Network(config).eval()(torch.zeros((2, side, side + 3, 3), dtype=torch.uint8)).shape == (2, 4)


def test_network_for_small_images_has_no_stem_and_that_for_large_ones_halves_them_first():
    assert NetworkConfig.for_images(Input(28, 28, "L"), 10) == NetworkConfig(10)
    assert NetworkConfig.for_images(Input(64, 64), 10).stem == 0
    large = NetworkConfig.for_images(Input(128, 128), 10)
    assert large == NetworkConfig(10, 3, (64, 128, 256, 256), stem=32)
    assert Network(large).stem(torch.zeros(1, 3, 128, 128)).shape == (1, 32, 64, 64)


@pytest.mark.parametrize(("channels", "stem"), [(1, 0), (3, 0), (3, 16)])
def test_fused_network_computes_the_same(channels, stem):
    network, images = lived_in(NetworkConfig(7, channels, stem=stem))
    fused = network.fused()
    assert not [module for module in fused.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.inference_mode():
        assert torch.allclose(network(images), fused(images), rtol=1e-4, atol=1e-6)
        assert network(images).abs().max() > 0.01


def test_factor_of_a_batch_norm_is_never_learnt():
    network, _ = lived_in(NetworkConfig(3))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert not module.weight.requires_grad
            assert (module.weight == 1).all()


def test_normalisation_is_that_of_the_images():
    images = np.random.default_rng(0).integers(0, 200, (9, 5, 5, 3), dtype=np.uint8)
    network = build(NetworkConfig(2, 3), images, seed=0)
    assert np.allclose(network.mean, images.mean(axis=(0, 1, 2)))
    assert np.allclose(network.deviation, images.std(axis=(0, 1, 2)))


def test_images_of_one_colour_do_not_divide_by_nothing():
    network = build(NetworkConfig(2), np.full((4, 8, 8, 1), 9, np.uint8), seed=0)
    assert torch.isfinite(network(torch.full((4, 8, 8, 1), 9, dtype=torch.uint8))).all()


def test_same_seed_gives_the_same_weights_and_leaves_torch_s_random_state_alone():
    state = torch.random.get_rng_state()
    images = np.zeros((1, 8, 8, 1), np.uint8)
    one, same, other = (build(NetworkConfig(2), images, seed=seed).head.weight for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert (torch.random.get_rng_state() == state).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (8, 1)])
def test_images_of_a_single_pixel_a_side_are_refused(size):
    with pytest.raises(ValueError, match="2 a side at least"):
        NetworkConfig.for_images(Input(*size, "L"), 3)
